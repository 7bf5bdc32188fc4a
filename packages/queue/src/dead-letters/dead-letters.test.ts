import { randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import { Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { readAccounts } from "../accounting.ts"
import { createProducer, type Producer } from "../enqueue/producer.ts"
import { createJobPayload } from "../jobs/job.ts"
import { findUploadOwners } from "../jobs/upload-owners.ts"
import { checkpointKey, queueKey } from "../names.ts"
import { type Consumer, createConsumer, type EndedRun, STALL_LIMIT } from "../run/consumer.ts"
import type { RunResult } from "../run/ending.ts"
import { queueStatus } from "../status.ts"
import { type DeadLetters, openDeadLetters } from "./dead-letters.ts"

let redis: RedisServer
let client: Redis
let queue: string
let letters: DeadLetters
let producer: Producer
let consumer: Consumer | undefined

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
beforeEach(() => {
  queue = `letters-${randomUUID().slice(0, 8)}`
  client = new Redis(redis.url)
  letters = openDeadLetters({ connection: client, queue })
  producer = createProducer({ connection: client, queue, deadlineMs: 10_000 })
})
afterEach(async () => {
  await consumer?.close()
  consumer = undefined
  await producer.close()
  await letters.close()
  client.disconnect()
})

const payload = (projectId = "100001") =>
  createJobPayload({
    projectId,
    archiveId: randomUUID(),
    encryptedPassword: "d3JhcHBlZC1jYW5hcnk=",
    status: "uploaded",
    receivedAt: new Date().toISOString(),
    nonce: randomUUID(),
  })

function consume(run: (projectId: string, attempt: number) => Promise<RunResult>): EndedRun<RunResult>[] {
  const ended: EndedRun<RunResult>[] = []
  consumer = createConsumer({
    ...{ connection: client, queue, concurrency: 2, attempts: 1 },
    run: ({ projectId }, { attempt }) => run(projectId, attempt),
    observe: { ended: (each) => ended.push(each) },
  })
  return ended
}

async function fail(projectId: string): Promise<RunResult> {
  if (projectId === "1") throw new UnsealError("ERR_NO_MATCHING_KEY", "none of 3 keys fits")
  throw new UnsealError("ERR_OBJECT_CHANGED", "another version is there")
}

const failed = async () => (await queueStatus(client, queue)).jobs.failed

test("are listed from the newest, page by page, and counted by code", async () => {
  const run = consume(fail)
  const jobs: string[] = []
  for (const projectId of ["1", "1", "2"]) {
    jobs.push((await producer.enqueue(payload(projectId))).jobId)
    await expect.poll(failed, { timeout: 20_000 }).toBe(jobs.length)
  }
  expect(run).toHaveLength(3)
  const [newest, ...rest] = await letters.list({ limit: 2 })
  expect(rest).toHaveLength(1)
  expect(newest).toMatchObject({
    jobId: jobs[2],
    projectId: "2",
    code: "ERR_OBJECT_CHANGED",
    reason: "ERR_OBJECT_CHANGED: another version is there",
    attempts: 1,
  })
  expect(Date.parse(newest!.failedAt)).toBeGreaterThanOrEqual(Date.parse(newest!.addedAt))
  expect((await letters.list({ after: rest[0]! })).map(({ jobId }) => jobId)).toEqual([jobs[0]])
  expect(JSON.stringify(await letters.list())).not.toContain("d3JhcHBl")

  expect(await letters.count()).toEqual({
    total: 3,
    counted: 3,
    byCode: new Map([
      ["ERR_OBJECT_CHANGED", 1],
      ["ERR_NO_MATCHING_KEY", 2],
    ]),
  })
  expect(await letters.count(1)).toEqual({
    total: 3,
    counted: 1,
    byCode: new Map([["ERR_OBJECT_CHANGED", 1]]),
  })
})

test("an empty queue has an empty list and a count of 0", async () => {
  expect(await letters.list()).toEqual([])
  expect(await letters.count()).toEqual({ total: 0, counted: 0, byCode: new Map() })
})

test("a page with a limit out of range is refused", async () => {
  const NEVER = { jobId: "1_a_b", failedAt: "never" }
  for (const page of [{ limit: 0 }, { limit: 1_001 }, { limit: -1 }, { limit: 1.5 }, { after: NEVER }])
    await expect(letters.list(page)).rejects.toThrow(RangeError)
})

test("a redriven job starts again under another id, from its checkpoint, and its dead letter is gone", async () => {
  let healed = false
  const ended = consume(async (projectId) => (healed ? {} : fail(projectId)))
  const { jobId } = await producer.enqueue(payload("2"))
  await expect.poll(failed, { timeout: 20_000 }).toBe(1)
  await client.hset(queueKey(queue, jobId), "stc", String(STALL_LIMIT + 1))
  await client.hset(checkpointKey(queue, jobId), "upload", "kept")
  await consumer?.close()

  const redriven = await letters.redrive(jobId)
  expect(redriven).toEqual({ jobId: `${jobId}_r2` })
  expect(await client.exists(queueKey(queue, jobId), checkpointKey(queue, jobId))).toBe(0)
  expect(await client.hget(checkpointKey(queue, `${jobId}_r2`), "upload")).toBe("kept")
  expect((await queueStatus(client, queue)).jobs).toMatchObject({ waiting: 1, failed: 0 })
  expect(await client.hmget(queueKey(queue, `${jobId}_r2`), "stc", "atm", "ats")).toEqual([null, null, null])

  const again = consume(async (projectId) => (healed ? {} : fail(projectId)))
  await expect.poll(failed, { timeout: 20_000 }).toBe(1)
  healed = true
  expect(await letters.redrive(`${jobId}_r2`)).toEqual({ jobId: `${jobId}_r3` })
  await expect.poll(() => again.length, { timeout: 20_000 }).toBe(2)
  expect(again.map(({ ending, attempt }) => [ending.kind, attempt])).toEqual([
    ["dead-letter", 1],
    ["committed", 1],
  ])
  expect(ended).toHaveLength(1)
})

test("a discarded dead letter leaves only its count, and its archive may come again", async () => {
  consume(fail)
  const one = payload("1")
  const { jobId } = await producer.enqueue(one)
  const damaged = (await producer.enqueue(payload("1"))).jobId
  await expect.poll(failed, { timeout: 20_000 }).toBe(2)
  await consumer?.close()
  const upload = JSON.stringify({ destinationKey: "100001/archive" })
  await client.hset(checkpointKey(queue, jobId), "upload", upload)
  await client.del(queueKey(queue, damaged))
  const isOwned = async () => {
    const keys = new Set(["100001/archive"])
    return await (await findUploadOwners(client, queue, keys, AbortSignal.timeout(5_000))).isOwned(
      "100001/archive",
    )
  }
  expect(await isOwned()).toBe(true)

  expect(await letters.discard(jobId)).toBe(true)
  expect(await letters.discard(jobId)).toBe(false)
  expect(await letters.discard(damaged)).toBe(true)
  expect(await letters.redrive(jobId)).toBeNull()
  expect(await client.exists(queueKey(queue, jobId), checkpointKey(queue, jobId))).toBe(0)
  expect(await isOwned()).toBe(false)
  const accounts = { accepted: 2, committed: 0, deadLetters: 0, live: 0, discarded: 2, missing: 0 }
  expect(await readAccounts(client, queue)).toEqual(accounts)

  expect((await producer.enqueue(one)).outcome).toBe("enqueued")
  expect(await readAccounts(client, queue)).toEqual({ ...accounts, accepted: 3, live: 1 })
  expect(await letters.discard(jobId)).toBe(false)
})

test("a dead letter that is redriven and discarded at once ends as one of the two", async () => {
  consume(fail)
  const jobs = await Promise.all(Array.from({ length: 20 }, () => producer.enqueue(payload("1"))))
  await expect.poll(failed, { timeout: 20_000 }).toBe(jobs.length)
  await consumer?.close()
  const both = await Promise.all(
    jobs.map(async ({ jobId }, index) => {
      // Its payload is read before it is discarded, and its place in line is taken afterwards.
      const redriving = letters.redrive(jobId)
      for (let turn = 0; turn < index % 5; turn++) await client.ping()
      return [await letters.discard(jobId), (await redriving) !== null]
    }),
  )
  expect(both.every(([discarded, redriven]) => discarded !== redriven)).toBe(true)
  expect(await readAccounts(client, queue)).toMatchObject({
    live: both.filter(([, redriven]) => redriven).length,
    ...{ deadLetters: 0, missing: 0 },
  })
})

test("a dead letter whose redrive fails stays, and so does its checkpoint", async () => {
  consume(async (projectId) => fail(projectId))
  const { jobId } = await producer.enqueue(payload("2"))
  await expect.poll(failed, { timeout: 20_000 }).toBe(1)
  await consumer?.close()
  await client.hset(checkpointKey(queue, jobId), "upload", "kept")
  await client.set(queueKey(queue, "prioritized"), "no line at all")
  await expect(letters.redrive(jobId)).rejects.toThrow(/WRONGTYPE/)

  await client.del(queueKey(queue, "prioritized"))
  // Even if a restarted Redis has forgotten the scripts, nothing is lost.
  await client.script("FLUSH")
  const next = `${jobId}_r2`
  expect(await letters.list()).toMatchObject([{ jobId }])
  expect(await letters.redrive(jobId)).toEqual({ jobId: next })
  expect(await client.hget(checkpointKey(queue, next), "upload")).toBe("kept")
  expect((await queueStatus(client, queue)).jobs).toMatchObject({ waiting: 1, failed: 0 })
})

test("a dead letter stays if the job that it would become has lost its payload", async () => {
  consume(fail)
  const { jobId } = await producer.enqueue(payload("1"))
  await expect.poll(failed, { timeout: 20_000 }).toBe(1)
  await consumer?.close()
  const next = queueKey(queue, `${jobId}_r2`)
  await client.hset(next, "priority", 1)
  await expect(letters.redrive(jobId)).rejects.toThrow(
    `${jobId}_r2, which it would become, has lost its payload`,
  )
  expect((await letters.list()).map((letter) => letter.jobId)).toEqual([jobId])

  await client.del(next)
  expect(await letters.redrive(jobId)).toEqual({ jobId: `${jobId}_r2` })
})

test("a redrive that died between adding and removing loses nothing, and has the same result when repeated", async () => {
  consume(fail)
  const one = payload("2")
  const { jobId } = await producer.enqueue(one)
  await expect.poll(failed, { timeout: 20_000 }).toBe(1)
  await consumer?.close()
  const dump = await client.dumpBuffer(queueKey(queue, jobId))
  const score = await client.zscore(queueKey(queue, "failed"), jobId)
  await letters.redrive(jobId)
  // Restores the dead letter, as if it had not been removed.
  await client.restore(queueKey(queue, jobId), 0, dump)
  await client.zadd(queueKey(queue, "failed"), score!, jobId)
  expect(await letters.redrive(jobId)).toEqual({ jobId: `${jobId}_r2` })
  expect((await queueStatus(client, queue)).jobs).toMatchObject({ waiting: 1, failed: 0 })
})

test("only a dead letter can be redriven", async () => {
  const { jobId } = await producer.enqueue(payload())
  expect(await letters.redrive(jobId)).toBeNull()
  expect(await letters.redrive("no-such-job")).toBeNull()
  expect((await queueStatus(client, queue)).jobs.waiting).toBe(1)
})

test("the status counts jobs by state, and says how long the next one has waited", async () => {
  expect(await queueStatus(client, queue)).toEqual({
    jobs: { waiting: 0, active: 0, delayed: 0, completed: 0, failed: 0 },
    oldestWaitingSeconds: 0,
    lanes: {
      live: { waiting: 0, oldestWaitingSeconds: 0 },
      bulk: { waiting: 0, oldestWaitingSeconds: 0 },
    },
  })
  const { jobId } = await producer.enqueue(payload())
  await producer.enqueue(payload())
  await client.hset(queueKey(queue, jobId), "timestamp", Date.now() - 90_000)
  const { jobs, oldestWaitingSeconds } = await queueStatus(client, queue)
  expect(jobs.waiting).toBe(2)
  expect(oldestWaitingSeconds).toBeGreaterThanOrEqual(90)
  expect(oldestWaitingSeconds).toBeLessThan(150)
})
