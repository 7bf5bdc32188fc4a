/** A copy of Redis' append-only file, taken while archives arrive and are decrypted, is a queue that a new Redis goes on with. */
import { cp, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { readAccounts } from "@unseal/queue/accounting"
import { createProducer } from "@unseal/queue/enqueue/producer"
import { createJobPayload, jobIdOf } from "@unseal/queue/jobs/job"
import { queueKey } from "@unseal/queue/names"
import { createRedis } from "@unseal/service/redis/redis"
import { expect, test } from "vitest"
import { startRedis } from "../../harness/redis/redis.ts"
import { startWorkerSystem } from "../../harness/worker-system.ts"

const SMALL = 188 * 1000
const SOON = { timeout: 60_000, interval: 100 }

test("what was acknowledged before the copy began is in it; done archives are not done again, and the accounts agree", async () => {
  const system = await startWorkerSystem()
  const directory = await mkdtemp(join(tmpdir(), "unseal-restored-"))
  const ends: (() => unknown)[] = [
    () => rm(directory, { recursive: true, force: true }),
    () => system.close(),
  ]
  try {
    const submit = async () => {
      const archive = system.make(SMALL)
      await system.upload(archive)
      return { archive, jobId: await system.enqueue(archive) }
    }
    const committed = async () => (await readAccounts(system.client, "unseal")).committed
    const worker = await system.startWorker()
    const done = await Promise.all(Array.from({ length: 4 }, submit))
    await expect.poll(committed, SOON).toBe(4)
    // From here on nothing ends, so that the copy has archives that wait.
    await worker.stop()
    const waiting = await Promise.all(Array.from({ length: 4 }, submit))

    // As docs/operations.md has it: no rewrite while files are copied. Archives go on arriving.
    const [source] = ((await system.client.config("GET", "dir")) as string[]).slice(1)
    await system.client.config("SET", "auto-aof-rewrite-percentage", 0)
    const payloads = Array.from({ length: 300 }, (_, index) =>
      createJobPayload({
        ...{ projectId: "999999", archiveId: `00000000-0000-4000-8000-${String(index).padStart(12, "0")}` },
        ...{ encryptedPassword: "AAAA", status: "uploaded", nonce: String(index) },
        receivedAt: new Date().toISOString(),
      }),
    )
    const producer = createProducer({ connection: system.client, queue: "unseal", deadlineMs: 20_000 })
    ends.push(() => producer.close())
    const [early, late] = [payloads.slice(0, 100), payloads.slice(100)]
    for (const payload of early) await producer.enqueue(payload)
    const arriving = Promise.all(late.map((payload) => producer.enqueue(payload)))
    await cp(join(source!, "appendonlydir"), join(directory, "appendonlydir"), { recursive: true })
    await arriving

    const restored = await startRedis({ directory })
    ends.push(() => restored.close())
    const client = createRedis({ REDIS_URL: restored.url }, {})
    await client.connect()
    ends.push(() => client.disconnect())
    const before = await readAccounts(client, "unseal")
    expect(before).toMatchObject({ committed: 4, deadLetters: 0, missing: 0 })
    expect(before.accepted).toBeGreaterThanOrEqual(108)
    for (const payload of early) expect(await client.exists(queueKey("unseal", jobIdOf(payload)))).toBe(1)
    for (const { jobId } of [...done, ...waiting])
      expect(await client.exists(queueKey("unseal", jobId))).toBe(1)

    const versions = await Promise.all(
      done.map(({ archive }) => system.destination.stat(archive.key, AbortSignal.timeout(10_000))),
    )
    await system.startWorker({ REDIS_URL: restored.url })
    for (const { archive } of waiting)
      await expect.poll(() => system.digest(archive), SOON).toBe(archive.plaintextSha256)
    const after = await Promise.all(
      done.map(({ archive }) => system.destination.stat(archive.key, AbortSignal.timeout(10_000))),
    )
    expect(after).toEqual(versions)
    expect((await readAccounts(client, "unseal")).missing).toBe(0)
  } finally {
    for (const end of ends.reverse()) await end()
  }
}, 180_000)
