/** Stores that can't be reached, or say nothing. */
import { randomUUID } from "node:crypto"
import { rm, writeFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { type RedisProxy, startRedisProxy } from "../redis-proxy.ts"
import { inWorld, type Row } from "../row.ts"
import { DEMAND, throughTrouble } from "../trouble.ts"
import type { WorldOptions } from "../world.ts"

/** `url` by another way to its server. */
const by = (url: string, endpoint: string): string => {
  const [store, query] = url.split("?")
  const parameters = new URLSearchParams(query)
  parameters.set("endpoint", endpoint)
  return `${store}?${parameters}`
}

/** The second project's store is behind a proxy of its own. */
function behindProxy(endpointAt = (port: number) => `http://127.0.0.1:${port}`): {
  readonly second: NonNullable<WorldOptions["second"]>
  proxy(): RedisProxy
} {
  let proxy: RedisProxy
  return {
    proxy: () => proxy,
    async second({ s3, stores, closing }) {
      proxy = await startRedisProxy(s3.port)
      closing.push(() => proxy.close())
      const endpoint = endpointAt(proxy.port)
      return { source: by(stores.source, endpoint), destination: by(stores.destination, endpoint) }
    },
  }
}

export const silentStore: Row = {
  name: "silent-store",
  fault: "a project's store accepts connections and requests for two minutes, and never answers",
  demand: DEMAND,
  run(options) {
    const { second, proxy } = behindProxy()
    return inWorld(options, { second }, (world) =>
      throughTrouble(world, options, {
        what: "the store says nothing",
        begin: () => proxy().fault({ kind: "freeze" }),
        end: () => proxy().honest(),
      }),
    )
  },
}

/** Loaded into a worker before anything else: its resolver knows `store.chaos.test` unless this file is there. */
const NAMES = pathToFileURL(resolve(import.meta.dirname, "../names.ts")).href

export const namesAway: Row = {
  name: "names-away",
  fault: "the name of a project's store does not resolve for two minutes, and its connections are cut",
  demand: DEMAND,
  run(options) {
    const { second, proxy } = behindProxy((port) => `http://store.chaos.test:${port}`)
    const failing = join("/tmp", `unseal-chaos-names-${randomUUID()}`)
    return inWorld(
      options,
      {
        second: async (places) => {
          places.closing.push(() => rm(failing, { force: true }))
          const project = await second(places)
          const pathStyle = (url = "") => (url.includes("pathStyle") ? url : `${url}&pathStyle=true`)
          return {
            ...{ source: pathStyle(project.source), destination: pathStyle(project.destination) },
            env: { NODE_OPTIONS: `--import ${NAMES}`, CHAOS_NAMES_FAIL: failing },
          }
        },
      },
      (world) =>
        throughTrouble(world, options, {
          what: "the store's name does not resolve",
          async begin() {
            await writeFile(failing, "EAI_AGAIN")
            proxy().cut()
          },
          halfway: () => writeFile(failing, "ENOTFOUND"),
          end: () => rm(failing),
        }),
    )
  },
}
