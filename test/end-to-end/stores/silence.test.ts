/** A store falls silent in the middle of transfers, while its project's archives occupy every slot of the worker. */
import { readAccounts } from "@unseal/queue/accounting"
import { listSuspensions } from "@unseal/queue/suspension/state"
import { startRedisProxy } from "../../chaos/redis-proxy.ts"
import { DESTINATION_NAME } from "../../harness/stores.ts"
import { PROJECT_ID } from "../../harness/system.ts"
import type { Archive } from "../../harness/worker-system.ts"
import { testWith } from "../../harness/worker-test.ts"

const MIB = 1024 * 1024
const WELL = "200002"
const SLOTS = 4
/** Three parts of 5 MiB. */
const LARGE = 11 * MIB
const SMALL = 188 * 16 * 20

const SOON = { timeout: 120_000, interval: 50 }

const test = testWith((system, expect) => {
  const committed = async () => (await readAccounts(system.client, "unseal")).committed
  const areDone = async (archives: readonly Archive[]) => {
    const signal = AbortSignal.timeout(60_000)
    const found = await Promise.all(archives.map(({ key }) => system.destination.stat(key, signal)))
    return found.every((object) => object !== null)
  }
  const areRight = async (archives: readonly Archive[]) => {
    for (const archive of archives) expect(await system.digest(archive)).toBe(archive.plaintextSha256)
  }
  return { committed, areDone, areRight }
})

/** `url` with its server's port replaced. */
const by = (url: string, port: number): string => {
  const [store, query] = url.split("?")
  const parameters = new URLSearchParams(query)
  parameters.set("endpoint", `http://127.0.0.1:${port}`)
  return `${store}?${parameters}`
}

test.concurrent.for(["source", "destination"] as const)(
  "a %s that falls silent amid parts holds no slot for longer than 20 s, and its archives go on where they were",
  { timeout: 600_000 },
  async (side, { system, at: { committed, areDone, areRight }, expect }) => {
    const { UNSEAL_SOURCE, UNSEAL_DESTINATION, UNSEAL_KEYS: keys } = system.env
    const [source, destination] = [UNSEAL_SOURCE!, UNSEAL_DESTINATION!]
    const proxy = await startRedisProxy(system.s3.port)
    try {
      const sides = { source, destination }
      const projects = [
        { id: PROJECT_ID, ...sides, [side]: by(sides[side], proxy.port), keys },
        { id: WELL, ...sides, keys },
      ]
      const sick = await system.submit(
        PROJECT_ID,
        Array.from({ length: 2 * SLOTS }, () => LARGE),
      )
      // 20 s for a part, so that none is done before all have begun one.
      const slow = system.s3.faults.add({
        operation: side === "source" ? "GetObject" : "UploadPart",
        key: new RegExp(`${PROJECT_ID}/`),
        times: Number.POSITIVE_INFINITY,
        action: { throttleBytesPerSecond: MIB / 4 },
      })
      const worker = await system.startWorkerOf(projects, {
        UNSEAL_CONCURRENCY: String(SLOTS),
        UNSEAL_PART_SIZE_BYTES: String(5 * MIB),
        // No lock expires on a slow machine.
        UNSEAL_LOCK_MS: "30000",
      })
      // Counts uploads whose beginning was answered. The worker would begin others again.
      const begun = () =>
        side === "source"
          ? system.s3.openUploads().length
          : new Set(
              system.s3.operations
                .entries()
                .filter(({ operation, bucket }) => operation === "UploadPart" && bucket === DESTINATION_NAME)
                .map(({ uploadId }) => uploadId),
            ).size
      await expect.poll(begun, SOON).toBe(SLOTS)
      proxy.fault({ kind: "freeze" })
      const well = await system.submit(WELL, [LARGE, LARGE, SMALL, SMALL, SMALL, SMALL])

      await expect.poll(() => areDone(well), SOON).toBe(true)
      await areRight(well)
      expect(await listSuspensions(system.client, "unseal")).toMatchObject([
        {
          ...{ projectId: PROJECT_ID, side, code: "ERR_STORE_UNAVAILABLE" },
          // If a request's five tries were each given up after 30 s of silence, the reason would be that nothing moved.
          reason: expect.stringMatching(/no answer for [12]0 s, (nor to|and a look fails)/),
        },
      ])

      proxy.honest()
      slow.remove()
      await expect.poll(committed, { ...SOON, timeout: 180_000 }).toBe(sick.length + well.length)
      await areRight(sick)
      expect(await readAccounts(system.client, "unseal")).toMatchObject({
        deadLetters: 0,
        live: 0,
        missing: 0,
      })
      expect(new Set(await system.attempts())).toEqual(new Set(["1"]))
      // Every archive in parts was begun once: the other runs continued with existing parts.
      const isPlain = ({ bucket }: { bucket: string }) => bucket === DESTINATION_NAME
      expect(system.s3.operations.count("CreateMultipartUpload", isPlain)).toBe(sick.length + 2)
      expect(system.s3.openUploads()).toEqual([])
      expect(worker.log.filter(({ msg }) => String(msg).includes("stuck"))).toEqual([])
    } finally {
      await proxy.close()
    }
  },
)
