/** Stores that can't be reached, or say nothing. */

import { type RedisProxy, startRedisProxy } from "../redis-proxy.ts"
import { inWorld, type Row, until } from "../row.ts"
import { SECOND_PROJECT } from "../settings.ts"
import { DEMAND, throughTrouble } from "../trouble.ts"
import { type Names, startNames } from "../world/names.ts"
import { startVanishingPeer, type VanishingPeer } from "../world/vanishing-peer.ts"
import type { WorldOptions } from "../world/world.ts"

/** Replaces the endpoint of `url`. */
const by = (url: string, endpoint: string): string => {
  const [store, query] = url.split("?")
  const parameters = new URLSearchParams(query)
  parameters.set("endpoint", endpoint)
  return `${store}?${parameters}`
}

/** Puts the second project's store behind a proxy of its own. */
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

const MIB = 1024 * 1024

/** A broken cable, a firewall, a machine without power: what was in flight is lost, and nobody says so. */
export const peerVanished: Row = {
  name: "peer-vanished",
  fault: "a project's store vanishes without FIN for two minutes, amid bodies and with idle connections",
  demand: DEMAND,
  async run(options) {
    let peer: VanishingPeer
    let [flowing, idle] = [0, 0]
    const result = await inWorld(
      options,
      {
        async second({ s3, stores, closing }) {
          peer = await startVanishingPeer(s3.port)
          closing.push(() => peer.close())
          // Slow enough to vanish in the middle.
          s3.faults.add({
            ...{ operation: "GetObject", key: new RegExp(`^${SECOND_PROJECT}/`) },
            ...{ times: Number.POSITIVE_INFINITY, action: { throttleBytesPerSecond: 2 * MIB } },
          })
          return { source: by(stores.source, peer.url), destination: by(stores.destination, peer.url) }
        },
      },
      (world) =>
        throughTrouble(world, options, {
          what: "the store's packets are dropped",
          largeMib: 11,
          async begin() {
            await until("bodies and idle connections", 30_000, () => {
              ;({ flowing, idle } = peer.connections())
              return flowing > 0 && idle > 0
            })
            await peer.vanish()
          },
          end: () => peer.comeBack(),
        }),
    )
    return { ...result, measured: `vanished from ${flowing} bodies, ${idle} idle; ${result.measured}` }
  },
}

export const namesAway: Row = {
  name: "names-away",
  fault: "the name of a project's store does not resolve for two minutes, and its connections are cut",
  demand: DEMAND,
  run(options) {
    const { second, proxy } = behindProxy((port) => `http://store.chaos.test:${port}`)
    let names: Names
    let asked = 0
    return inWorld(
      options,
      {
        second: async (places) => {
          names = await startNames()
          places.closing.push(() => names.close())
          const project = await second(places)
          const pathStyle = (url = "") => (url.includes("pathStyle") ? url : `${url}&pathStyle=true`)
          return {
            ...{ source: pathStyle(project.source), destination: pathStyle(project.destination) },
            within: names.within,
          }
        },
      },
      async (world) => {
        const findings = await throughTrouble(world, options, {
          what: "the store's name server says nothing, then that there is no such name",
          begin() {
            asked = names.asked
            names.trouble("silent")
            proxy().cut()
          },
          halfway: () => names.trouble("NXDOMAIN"),
          end() {
            asked = names.asked - asked
            names.trouble(null)
          },
        })
        return {
          ...findings,
          measured: `${asked} questions to the name server meanwhile; ${findings.measured}`,
          failures: [...(findings.failures ?? []), ...(asked > 0 ? [] : ["the name was never looked up"])],
        }
      },
    )
  },
}
