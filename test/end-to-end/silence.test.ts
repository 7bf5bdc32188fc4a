/** A store that falls silent in the midst of transfers, while its project's archives have every slot of the worker. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { readAccounts } from "@unseal/queue/accounting"
import { queueKey } from "@unseal/queue/names"
import { listSuspensions } from "@unseal/queue/suspension-state"
import { afterEach, beforeEach, expect, test } from "vitest"
import { startRedisProxy } from "../chaos/redis-proxy.ts"
import { DESTINATION_NAME } from "../harness/stores.ts"
import { PROJECT_ID } from "../harness/system.ts"
import { type Archive, startWorkerSystem, type WorkerSystem } from "../harness/worker-system.ts"

const MIB = 1024 * 1024
const WELL = "200002"
const SLOTS = 4
/** Three parts of 5 MiB. */
const LARGE = 11 * MIB
const SMALL = 188 * 16 * 20

/** 20 s of silence, and time to work. Five tries of a request, each of 30 s, would take longer. */
const BOUND = { timeout: 90_000, interval: 100 }
const SOON = { timeout: 60_000, interval: 50 }

let system: WorkerSystem
beforeEach(async () => {
  system = await startWorkerSystem()
})
afterEach(() => system.close())

const committed = async () => (await readAccounts(system.client, "unseal")).committed
const areRight = async (archives: readonly Archive[]) => {
  for (const archive of archives) expect(await system.digest(archive)).toBe(archive.plaintextSha256)
}

async function submit(projectId: string, sizes: readonly number[]): Promise<Archive[]> {
  const archives = sizes.map((size) => {
    const made = system.make(size)
    return { ...made, key: made.key.replace(PROJECT_ID, projectId) }
  })
  for (const archive of archives) {
    await system.upload(archive)
    await system.enqueue(archive, { projectId })
  }
  return archives
}

/** `url` by another way to its server. */
const by = (url: string, port: number): string => {
  const [store, query] = url.split("?")
  const parameters = new URLSearchParams(query)
  parameters.set("endpoint", `http://127.0.0.1:${port}`)
  return `${store}?${parameters}`
}

test.each(["source", "destination"] as const)(
  "a %s that falls silent amid parts holds no slot for longer than 20 s, and its archives go on where they were",
  async (side) => {
    const { UNSEAL_SOURCE, UNSEAL_DESTINATION, UNSEAL_KEYS_DIR: keysDir } = system.env
    const [source, destination] = [UNSEAL_SOURCE!, UNSEAL_DESTINATION!]
    const proxy = await startRedisProxy(system.s3.port)
    try {
      const file = join(system.directory, "projects.json")
      const sides = { source, destination }
      const projects = [
        { id: PROJECT_ID, ...sides, [side]: by(sides[side], proxy.port), keysDir },
        { id: WELL, ...sides, keysDir },
      ]
      await writeFile(file, JSON.stringify({ projects }))
      // Slow enough to be in the midst of.
      const slow = system.s3.faults.add({
        operation: side === "source" ? "GetObject" : "UploadPart",
        key: new RegExp(`${PROJECT_ID}/`),
        times: Number.POSITIVE_INFINITY,
        action: { throttleBytesPerSecond: 2 * MIB },
      })
      const sick = await submit(
        PROJECT_ID,
        Array.from({ length: 2 * SLOTS }, () => LARGE),
      )
      const none = { UNSEAL_PROJECT_ID: "", UNSEAL_SOURCE: "", UNSEAL_DESTINATION: "", UNSEAL_KEYS_DIR: "" }
      const worker = await system.startWorker({
        ...none,
        UNSEAL_PROJECTS_FILE: file,
        UNSEAL_CONCURRENCY: String(SLOTS),
        UNSEAL_PART_SIZE_BYTES: String(5 * MIB),
      })
      await expect.poll(() => system.s3.openUploads().length, SOON).toBe(SLOTS)
      proxy.fault({ kind: "freeze" })
      const before = await committed()
      const well = await submit(WELL, [LARGE, LARGE, SMALL, SMALL, SMALL, SMALL])

      await expect.poll(async () => (await committed()) - before, BOUND).toBe(well.length)
      await areRight(well)
      expect(await listSuspensions(system.client, "unseal")).toMatchObject([
        { projectId: PROJECT_ID, side, code: "ERR_STORE_UNAVAILABLE" },
      ])

      proxy.honest()
      slow.remove()
      await expect.poll(committed, { ...SOON, timeout: 120_000 }).toBe(sick.length + well.length)
      await areRight(sick)
      expect(await readAccounts(system.client, "unseal")).toMatchObject({
        deadLetters: 0,
        live: 0,
        missing: 0,
      })
      const ids = await system.client.zrange(queueKey("unseal", "completed"), 0, "-1")
      const attempts = await Promise.all(ids.map((id) => system.client.hget(queueKey("unseal", id), "atm")))
      expect(new Set(attempts)).toEqual(new Set(["1"]))
      // Every archive in parts was begun once: the others went on with what was there.
      const isPlain = ({ bucket }: { bucket: string }) => bucket === DESTINATION_NAME
      expect(system.s3.operations.count("CreateMultipartUpload", isPlain)).toBe(sick.length + 2)
      expect(system.s3.openUploads()).toEqual([])
      expect(worker.log.filter(({ msg }) => String(msg).includes("stuck"))).toEqual([])
    } finally {
      await proxy.close()
    }
  },
  400_000,
)
