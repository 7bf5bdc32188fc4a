import { randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import { Job, Queue } from "bullmq"
import { Redis } from "ioredis"
import { expect, test } from "vitest"
import { consume, current, ends, enqueue, field, stateOf, until } from "../../../../test/harness/consumer.ts"
import { newPayload } from "../../../../test/harness/queue.ts"
import { startRedis } from "../../../../test/harness/redis/redis.ts"
import { createProducer } from "../enqueue/producer.ts"
import { jobIdOf } from "../jobs/job.ts"
import { JOB_NAME, queueKey, queuePrefix } from "../names.ts"
import type { RunResult } from "./ending.ts"

test("a job is completed with its result, and observed once", async () => {
  const one = newPayload()
  const seen: unknown[] = []
  const consumer = consume({
    run: async (job, { jobId, attempt, starts, fence }) => {
      seen.push({ job, jobId, attempt, starts })
      await fence()
      return { size: 7 }
    },
  })
  const jobId = await enqueue(one)
  await until("completed", jobId)
  expect(seen).toEqual([{ job: one, jobId: jobIdOf(one), attempt: 1, starts: 1 }])
  expect(JSON.parse((await field(jobId, "returnvalue"))!)).toEqual({ size: 7 })
  expect(consumer.ended).toMatchObject([
    { jobId, attempt: 1, payload: one, ending: { kind: "committed", result: { size: 7 } } },
  ])
  expect(consumer.active).toBe(0)
})

test("a completed job keeps neither the password nor the URL, and yet its callback is a duplicate", async () => {
  const one = { ...newPayload(), url: "https://copies.example/signed-canary" }
  const run = Promise.withResolvers<RunResult>()
  consume({ run: () => run.promise })
  const jobId = await enqueue(one)
  await until("active", jobId)
  const secrets = [one.encryptedPassword, "signed-canary"]
  for (const secret of secrets) expect(await field(jobId, "data")).toContain(secret)
  run.resolve({})
  await until("completed", jobId)
  const kept = JSON.stringify(await current.client.hgetall(queueKey(current.name, jobId)))
  for (const secret of secrets) expect(kept).not.toContain(secret)
  expect(kept).toContain(one.archiveId)

  const { producer } = current
  // The same callback again, as after a lost answer, and another one.
  expect(await producer.enqueue(one)).toEqual({ outcome: "enqueued", jobId })
  expect(await producer.enqueue({ ...one, nonce: randomUUID() })).toEqual({ outcome: "duplicate", jobId })
  expect(await stateOf(jobId)).toBe("completed")
})

test("a dead letter keeps the password that it needs when it is redriven", async () => {
  consume({
    run: async () => {
      throw new UnsealError("ERR_NO_MATCHING_KEY", "none of 3 keys fits")
    },
  })
  const one = newPayload()
  const jobId = await enqueue(one)
  await until("failed", jobId)
  expect(JSON.parse((await field(jobId, "data"))!)).toEqual(one)
})

test("a permanent failure is a dead letter after one attempt, with code and message, and nothing else", async () => {
  const consumer = consume({
    run: async () => {
      throw new UnsealError("ERR_NO_MATCHING_KEY", "none of 3 keys fits")
    },
  })
  const jobId = await enqueue()
  await until("failed", jobId)
  expect(await field(jobId, "failedReason")).toBe("ERR_NO_MATCHING_KEY: none of 3 keys fits")
  expect(await field(jobId, "atm")).toBe("1")
  expect(await field(jobId, "stacktrace")).toBe("[]")
  expect(consumer.ended).toHaveLength(1)
})

test("an invalid payload is a dead letter without a run", async () => {
  const consumer = consume({ run: async () => ({}) })
  const view = new Queue(current.name, { connection: current.client, prefix: queuePrefix(current.name) })
  await view.add(JOB_NAME, { version: 9, encryptedPassword: "canary" }, { jobId: "old" })
  await view.close()
  await until("failed", "old")
  expect(await field("old", "failedReason")).toBe("ERR_JOB_INVALID: job payload version 9 is not 1")
  expect(consumer.ended[0]?.payload).toBeUndefined()
})

test.for([1, 12])(
  "a transient failure is tried again, by the worker's number of attempts whatever the job says (%i), and then a dead letter",
  async (attempts) => {
    const jobId = await enqueue()
    // As 0.1.0 added them.
    await current.client.hset(queueKey(current.name, jobId), "opts", JSON.stringify({ attempts, jobId }))
    const consumer = consume({
      attempts: 2,
      run: async () => {
        throw new UnsealError("ERR_OBJECT_CHANGED", "another version is there")
      },
    })
    await until("failed", jobId)
    expect(consumer.ended.map(({ attempt, ending }) => [attempt, ending.kind])).toEqual([
      [1, "retry"],
      [2, "dead-letter"],
    ])
    expect(await field(jobId, "failedReason")).toBe("ERR_OBJECT_CHANGED: another version is there")
  },
)

test("a job with a missing object waits without using attempts, and is done when it appears", async () => {
  let looked = 0
  const consumer = consume({
    attempts: 1,
    run: async () => {
      if (++looked < 3) throw new UnsealError("ERR_OBJECT_NOT_FOUND", "neither of 2 keys exists")
      return {}
    },
  })
  const jobId = await enqueue()
  await until("completed", jobId)
  expect(consumer.ended.map(({ attempt, ending }) => [attempt, ending.kind])).toEqual([
    [1, "waiting"],
    [1, "waiting"],
    [1, "committed"],
  ])
})

test("the wait for an object counts from the first miss, not since the job was added", async () => {
  const jobId = await enqueue()
  // After a weekend's backlog.
  await current.client.hset(
    queueKey(current.name, jobId),
    "timestamp",
    String(Date.now() - 3 * 24 * 3_600_000),
  )
  let looked = 0
  const consumer = consume({
    objectWaitMs: 60_000,
    run: async () => {
      if (++looked < 3) throw new UnsealError("ERR_OBJECT_NOT_FOUND", "neither of 2 keys exists")
      return {}
    },
  })
  await until("completed", jobId)
  const waits = consumer.ended.flatMap(({ ending }) => (ending.kind === "waiting" ? [ending.waitedMs] : []))
  expect(waits).toHaveLength(2)
  // Kept with the job, so that the second run knows about the first.
  expect(waits[0]).toBeLessThan(1_000)
  expect(waits[1]).toBeGreaterThanOrEqual(1_000)
})

test("a job whose object does not appear in time is a dead letter", async () => {
  consume({
    objectWaitMs: 500,
    run: async () => {
      throw new UnsealError("ERR_OBJECT_NOT_FOUND", "neither of 2 keys exists")
    },
  })
  const jobId = await enqueue()
  await until("failed", jobId)
  expect(await field(jobId, "failedReason")).toBe("ERR_OBJECT_NOT_FOUND: neither of 2 keys exists")
})

test("recovers by itself after Redis was down, at boot and later", async () => {
  const own = await startRedis()
  ends.push(() => own.close())
  await own.stop()
  const connection = new Redis(own.url, { lazyConnect: true, retryStrategy: () => 100 })
  connection.on("error", () => {})
  ends.push(() => connection.disconnect())
  const consumer = consume({ connection, run: async () => ({}) })
  const producer = createProducer({ connection, queue: current.name, deadlineMs: 10_000 })
  await own.restart()
  await producer.enqueue(newPayload())
  await expect.poll(() => consumer.ended.length, { timeout: 30_000 }).toBe(1)
  await own.stop("SIGKILL")
  await own.restart()
  await producer.enqueue(newPayload())
  await expect.poll(() => consumer.ended.length, { timeout: 30_000 }).toBe(2)
  await producer.close()
})

test("a full Redis is not asked a thousand times a second, and is logged once per class", async () => {
  const own = await startRedis()
  ends.push(() => own.close())
  const connection = new Redis(own.url)
  ends.push(() => connection.disconnect())
  const producer = createProducer({ connection, queue: current.name, deadlineMs: 10_000 })
  await producer.enqueue(newPayload())
  await connection.config("SET", "maxmemory", "1")
  const lines: string[] = []
  const log = (_: object, message: string) => lines.push(message)
  const logger = { info: log, warn: log, error: log }
  const consumer = consume({ connection, concurrency: 1, logger, run: async () => ({}) })
  await expect.poll(() => lines.length, { timeout: 30_000 }).toBeGreaterThan(0)
  await connection.config("RESETSTAT")
  await new Promise((resolve) => setTimeout(resolve, 3_000))
  const calls = (await connection.info("commandstats")).match(/cmdstat_evalsha:calls=(\d+)/)?.[1]
  expect(Number(calls)).toBeGreaterThan(0)
  expect(Number(calls)).toBeLessThan(50)
  expect(lines.length).toBeLessThan(10)
  await connection.config("SET", "maxmemory", "0")
  await expect.poll(() => consumer.ended.length, { timeout: 30_000 }).toBe(1)
  await producer.close()
})

test("the queue's answers count as progress, even if there is nothing to do", async () => {
  const consumer = consume({ run: async () => ({}) })
  const before = consumer.lastProgressAt
  await expect.poll(() => consumer.lastProgressAt, { timeout: 30_000 }).toBeGreaterThan(before)
})

test("an observer that throws does not disturb the job", async () => {
  consume({
    run: async () => ({}),
    observe: {
      ended() {
        throw new Error("observer's own")
      },
    },
  })
  await until("completed", await enqueue())
})

test("BullMQ's job has the keys that this package names", async () => {
  const jobId = await enqueue()
  const view = new Queue(current.name, { connection: current.client, prefix: queuePrefix(current.name) })
  expect((await Job.fromId(view, jobId))?.id).toBe(jobId)
  expect(view.toKey("wait")).toBe(queueKey(current.name, "wait"))
  await view.close()
})
