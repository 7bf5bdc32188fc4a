import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import { type ErrorCode, UnsealError } from "@unseal/archive/errors"
import { afterEach, expect, test } from "vitest"
import { useQueue } from "../../../../test/harness/queue.ts"
import { queueKey } from "../names.ts"
import { type Consumer, type ConsumerOptions, createConsumer } from "../run/consumer.ts"
import { findArchiveJobs } from "./archive-jobs.ts"
import { createJobPayload } from "./job.ts"

const queue = useQueue("archive-jobs")
const SOON = { timeout: 60_000, interval: 50 }
const consumers: Consumer[] = []
afterEach(async () => {
  for (const consumer of consumers.splice(0)) await consumer.close()
})

async function enqueue(archiveId = randomUUID() as string, projectId = "123456") {
  const { jobId } = await queue.producer.enqueue(
    createJobPayload({
      ...{ projectId, archiveId, encryptedPassword: "d3JhcHBlZA==", status: "uploaded" },
      ...{ receivedAt: new Date().toISOString(), nonce: randomUUID() },
    }),
  )
  return { archiveId, jobId }
}

/** A consumer that neither renews locks nor looks for stalled jobs during a test, so that a slow machine changes nothing. */
function consume(run: ConsumerOptions<Record<string, never>>["run"]): void {
  consumers.push(
    createConsumer({
      ...{ connection: queue.client, queue: queue.name, concurrency: 4, run },
      ...{ lockMs: 3_600_000, stallCheckMs: 3_600_000 },
      suspension: { firstMs: 3_600_000, mostMs: 3_600_000 },
      observe: { ended() {} },
    }),
  )
}
const failing = (code: ErrorCode) => async () => {
  const error = new UnsealError(code, "as the test wants it")
  error.side = "source"
  throw error
}
const find = (id: string) => findArchiveJobs(queue.client, queue.name, id)
const stateOf = (id: string) => expect.poll(async () => (await find(id))[0]?.state, SOON)

test("a waiting job is reported with its position in line", async () => {
  const first = await enqueue()
  const second = await enqueue()
  expect(await find(first.archiveId)).toMatchObject([
    {
      jobId: first.jobId,
      projectId: "123456",
      state: "waiting",
      lane: "live",
      ahead: 0,
      attempts: 0,
      failure: null,
    },
  ])
  expect(await find(second.archiveId)).toMatchObject([{ state: "waiting", ahead: 1 }])
})

test("a running job is reported with its worker and the written parts", async () => {
  const { archiveId, jobId } = await enqueue()
  consume(async (_, { checkpoint, signal }) => {
    await checkpoint.begin({
      ...{
        token: "token-1",
        destinationKey: "a/archive.ts",
        sourceKey: "a",
        sourceEtag: "e",
        sourceSize: 1000,
      },
      ...{ partSize: 400, plaintextSize: 1000 },
    })
    await checkpoint.part(1, { size: 400, tag: "t", crc32: 1, syncErrors: 0 })
    await checkpoint.part(3, { size: 200, tag: "t", crc32: 1, syncErrors: 0 })
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
  })
  await expect.poll(async () => (await find(archiveId))[0]?.upload?.partsWritten, SOON).toBe(2)
  expect(await find(archiveId)).toMatchObject([
    {
      ...{ jobId, state: "running", isLocked: true, worker: `${hostname()}:${process.pid}` },
      upload: { token: "token-1", parts: 3, partsWritten: 2, bytes: 1000, bytesWritten: 800 },
    },
  ])
  await queue.client.del(`${queueKey(queue.name, jobId)}:lock`)
  expect(await find(archiveId)).toMatchObject([{ state: "running", isLocked: false }])
})

test("a failed job is delayed until its next attempt, with the reason", async () => {
  const { archiveId, jobId } = await enqueue()
  // After this many attempts the next one is minutes away.
  await queue.client.hset(queueKey(queue.name, jobId), "atm", 9)
  consume(failing("ERR_OBJECT_CHANGED"))
  await stateOf(archiveId).toBe("delayed")
  const [job] = await find(archiveId)
  expect(job).toMatchObject({ attempts: 10, failure: { code: "ERR_OBJECT_CHANGED" } })
  expect(Date.parse(job!.until!)).toBeGreaterThan(Date.parse(job!.addedAt))
  expect(job!.missingSince).toBeUndefined()
})

test("a job with a missing or archived object is reported with the time since then", async () => {
  const { archiveId } = await enqueue()
  consume(failing("ERR_OBJECT_NOT_FOUND"))
  // It is looked for again each second, so one look must show all of it.
  await expect
    .poll(async () => (await find(archiveId))[0], SOON)
    .toMatchObject({
      ...{ state: "delayed", attempts: 0, until: expect.any(String) },
      missingSince: expect.stringMatching(/^20\d\d-/),
    })
})

test("a held job is reported with its side, since when, and whether it is the probe", async () => {
  const ids = [await enqueue(), await enqueue()]
  consume(failing("ERR_STORE_UNAVAILABLE"))
  for (const { archiveId } of ids) await stateOf(archiveId).toBe("held")
  const jobs = await Promise.all(ids.map(async ({ archiveId }) => (await find(archiveId))[0]!))
  for (const job of jobs)
    expect(job).toMatchObject({
      ...{ attempts: 0, until: expect.any(String) },
      suspension: { side: "source", code: "ERR_STORE_UNAVAILABLE", since: expect.any(String) },
    })
  expect(jobs.filter(({ suspension }) => suspension!.isProbe)).toHaveLength(1)
  for (const { since, addedAt } of jobs)
    expect(Date.parse(since)).toBeGreaterThanOrEqual(Date.parse(addedAt) - 1)
})

test("dead letters and completed jobs are reported with their times, and damaged ones as damaged", async () => {
  const [dead, done] = [await enqueue(), await enqueue()]
  consume(async ({ archiveId }) => {
    if (archiveId === dead.archiveId) await failing("ERR_CIPHERTEXT_INVALID")()
    return {}
  })
  await stateOf(dead.archiveId).toBe("dead")
  await stateOf(done.archiveId).toBe("completed")
  const [letter] = await find(dead.archiveId)
  expect(letter).toMatchObject({ attempts: 1, failure: { code: "ERR_CIPHERTEXT_INVALID" } })
  expect(letter!.damaged).toBeUndefined()
  expect((await find(done.archiveId))[0]).toMatchObject({ failure: null })
  await queue.client.hdel(queueKey(queue.name, dead.jobId), "data", "timestamp")
  expect((await find(dead.archiveId))[0]).toMatchObject({ state: "dead", damaged: true })
})

test("a job in no line is reported as orphaned", async () => {
  const { archiveId, jobId } = await enqueue()
  await queue.client.zrem(queueKey(queue.name, "prioritized"), jobId)
  expect(await find(archiveId)).toMatchObject([{ jobId, state: "orphaned" }])
})

test("jobs of all projects are found, even by a prefix of the id, but none of other queues", async () => {
  const { archiveId } = await enqueue()
  await enqueue(archiveId, "654321")
  await enqueue()
  expect((await find(archiveId)).map(({ projectId }) => projectId).sort()).toEqual(["123456", "654321"])
  expect((await find(archiveId.slice(0, 8))).map((job) => job.archiveId)).toEqual([archiveId, archiveId])
  expect(await findArchiveJobs(queue.client, `${queue.name}x`, archiveId)).toEqual([])
  // Neither a project's id nor the password's digest is an archive's id.
  expect(await find("123456")).toEqual([])
})
