import { type ChildProcess, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { UnsealError } from "@unseal/archive/errors"
import { Job, Queue } from "bullmq"
import { Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { newPayload } from "../../../../test/harness/queue.ts"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { createProducer } from "../enqueue/producer.ts"
import { jobIdOf } from "../jobs/job.ts"
import { checkpointKey, JOB_NAME, lockKey, queueKey, queuePrefix } from "../names.ts"
import {
  type Consumer,
  type ConsumerOptions,
  createConsumer,
  type EndedRun,
  type JobContext,
  STALL_LIMIT,
} from "./consumer.ts"
import type { RunResult } from "./ending.ts"
import { LockLostError } from "./lock.ts"

let redis: RedisServer
let client: Redis
let queue: string
let ends: (() => Promise<unknown> | unknown)[]

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
beforeEach(() => {
  queue = `consumer-${randomUUID().slice(0, 8)}`
  client = new Redis(redis.url)
  ends = [() => client.disconnect()]
})
afterEach(async () => {
  for (const end of ends.reverse()) await end()
})

async function enqueue(one = newPayload()): Promise<string> {
  const producer = createProducer({ connection: client, queue, deadlineMs: 10_000 })
  const { jobId } = await producer.enqueue(one)
  await producer.close()
  return jobId
}

type Options = Partial<ConsumerOptions<RunResult>> & Pick<ConsumerOptions<RunResult>, "run">

function consume(options: Options): Consumer & { ended: EndedRun<RunResult>[] } {
  const ended: EndedRun<RunResult>[] = []
  const consumer = createConsumer({
    connection: client,
    queue,
    concurrency: 4,
    lockMs: 3_000,
    stallCheckMs: 300,
    observe: { ended: (run) => ended.push(run) },
    ...options,
  })
  ends.push(() => consumer.close())
  return Object.assign(consumer, { ended })
}

const field = (jobId: string, name: string) => client.hget(queueKey(queue, jobId), name)

async function stateOf(jobId: string): Promise<string> {
  const view = new Queue(queue, { connection: client, prefix: queuePrefix(queue) })
  const state = await view.getJobState(jobId)
  await view.close()
  return state
}

const until = (state: string, jobId: string) =>
  expect.poll(() => stateOf(jobId), { timeout: 30_000, interval: 50 }).toBe(state)

/** A run that ends only by its signal. */
const untilAborted = (context: JobContext) =>
  new Promise<never>((_, reject) =>
    context.signal.addEventListener("abort", () => reject(context.signal.reason), { once: true }),
  )

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
  const kept = JSON.stringify(await client.hgetall(queueKey(queue, jobId)))
  for (const secret of secrets) expect(kept).not.toContain(secret)
  expect(kept).toContain(one.archiveId)

  const producer = createProducer({ connection: client, queue, deadlineMs: 10_000 })
  ends.push(() => producer.close())
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
  const view = new Queue(queue, { connection: client, prefix: queuePrefix(queue) })
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
    await client.hset(queueKey(queue, jobId), "opts", JSON.stringify({ attempts, jobId }))
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
  await client.hset(queueKey(queue, jobId), "timestamp", String(Date.now() - 3 * 24 * 3_600_000))
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

test("hands the jobs back on shutdown without using an attempt or a stall, first in line", async () => {
  const consumer = consume({ concurrency: 2, run: (_, context) => untilAborted(context) })
  const jobs = [await enqueue(), await enqueue()]
  const later = await enqueue()
  await expect.poll(() => consumer.active, { timeout: 20_000 }).toBe(2)
  const before = Date.now()
  await consumer.close()
  expect(Date.now() - before).toBeLessThan(5_000)
  for (const jobId of jobs) {
    expect(await stateOf(jobId)).toBe("waiting")
    expect(await field(jobId, "atm")).toBeNull()
    expect(await field(jobId, "stc")).toBeNull()
    expect(await client.exists(lockKey(queue, jobId))).toBe(0)
  }
  expect((await client.lrange(queueKey(queue, "wait"), 0, -1)).sort()).toEqual(jobs.sort())
  expect(await client.zrange(queueKey(queue, "prioritized"), 0, "-1")).toEqual([later])
  expect(consumer.ended.map(({ ending }) => ending.kind)).toEqual(["handed-back", "handed-back"])
})

test("closes within 5 s although a run does not end, and that run can no longer pass the fence", async () => {
  let context: JobContext | undefined
  const consumer = consume({
    run: (_, given) => {
      context = given
      return new Promise(() => {})
    },
  })
  const jobId = await enqueue()
  await expect.poll(() => context, { timeout: 20_000 }).toBeDefined()
  const before = Date.now()
  await consumer.close()
  expect(Date.now() - before).toBeLessThan(5_000)
  expect(await stateOf(jobId)).toBe("waiting")
  expect(await field(jobId, "stc")).toBeNull()
  await expect(context!.fence()).rejects.toThrow(LockLostError)
})

test("a run that succeeds while the process shuts down is completed, not handed back", async () => {
  let hasBegun = false
  const consumer = consume({
    run: async (_, { signal, checkpoint }) => {
      await checkpoint.begin(UPLOAD)
      // An abort before the answer to this would end the run.
      hasBegun = true
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }))
      return { late: true }
    },
  })
  const jobId = await enqueue()
  await expect.poll(() => hasBegun, { timeout: 20_000 }).toBe(true)
  expect(await client.exists(checkpointKey(queue, jobId))).toBe(1)
  await consumer.close()
  expect(await stateOf(jobId)).toBe("completed")
  expect(await client.exists(checkpointKey(queue, jobId))).toBe(0)
})

test("closes within 5 s while Redis is frozen, and if Redis was never there", async () => {
  const nowhere = new Redis({ port: 1, lazyConnect: true })
  const lost = consume({ connection: nowhere, run: async () => ({}) })
  const consumer = consume({ run: (_, context) => untilAborted(context) })
  await enqueue()
  await expect.poll(() => consumer.active, { timeout: 20_000 }).toBe(1)
  process.kill(redis.pid, "SIGSTOP")
  try {
    const before = Date.now()
    await Promise.all([consumer.close(), lost.close()])
    expect(Date.now() - before).toBeLessThan(5_500)
  } finally {
    process.kill(redis.pid, "SIGCONT")
  }
})

test("a lost lock aborts the run and closes its fence, and another worker does the job once", async () => {
  const contexts: JobContext[] = []
  const fenced: unknown[] = []
  const consumer = consume({
    run: async (_, context) => {
      contexts.push(context)
      if (contexts.length > 1) return { by: "the second" }
      // Somebody else has the job now, as after a stall.
      await client.set(lockKey(queue, context.jobId), "another", "PX", 1_000)
      await untilAborted(context).catch(() => {})
      await context.fence().catch((error: unknown) => fenced.push(error))
      // Too late, so this must not count.
      return { by: "the first" }
    },
  })
  const jobId = await enqueue()
  await until("completed", jobId)
  expect(contexts).toHaveLength(2)
  expect(contexts[0]!.signal.reason).toBeInstanceOf(LockLostError)
  expect(fenced[0]).toBeInstanceOf(LockLostError)
  expect(JSON.parse((await field(jobId, "returnvalue"))!)).toEqual({ by: "the second" })
  expect(consumer.ended.map(({ ending }) => ending.kind)).toEqual(["lock-lost", "committed"])
  expect(await field(jobId, "atm")).toBe("1")
})

test("the fence notices a lost lock by itself, and then nothing can be written to the checkpoint", async () => {
  const thrown: unknown[] = []
  let starts = 0
  consume({
    lockMs: 10_000,
    run: async (_, { jobId, fence, checkpoint, signal }) => {
      if (++starts > 1) return {}
      await fence()
      await checkpoint.begin(UPLOAD)
      await client.del(lockKey(queue, jobId))
      await checkpoint.part(1, RECEIPT).catch((error: unknown) => thrown.push(error))
      thrown.push(signal.reason)
      await fence()
      return {}
    },
  })
  const jobId = await enqueue()
  await until("completed", jobId)
  expect(thrown).toHaveLength(2)
  for (const error of thrown) expect(error).toBeInstanceOf(LockLostError)
  expect(await field(jobId, "stc")).toBe("1")
})

test("a new run of a job waits until the old one in the same process has ended", async () => {
  const order: string[] = []
  consume({
    run: async (_, context) => {
      const name = order.length === 0 ? "first" : "second"
      order.push(`${name} starts`)
      if (name === "first") {
        await client.del(lockKey(queue, context.jobId))
        await untilAborted(context).catch(() => {})
        // Waits until BullMQ has found the job as stalled and given it to this worker again.
        await expect.poll(() => client.exists(lockKey(queue, context.jobId)), { timeout: 20_000 }).toBe(1)
      }
      order.push(`${name} ends`)
      return {}
    },
  })
  await until("completed", await enqueue())
  expect(order).toEqual(["first starts", "first ends", "second starts", "second ends"])
})

test("an event loop blocked for longer than the lock costs each job at most one more start", async () => {
  const starts = new Map<string, number>()
  let blocked = false
  const consumer = consume({
    lockMs: 2_000,
    run: async (_, { jobId, signal }) => {
      starts.set(jobId, (starts.get(jobId) ?? 0) + 1)
      await expect.poll(() => starts.size, { timeout: 20_000 }).toBe(4)
      if (!blocked) {
        blocked = true
        const end = Date.now() + 4_500
        while (Date.now() < end);
      }
      // Long enough for the renewals to notice.
      await new Promise((resolve) => setTimeout(resolve, 1_500))
      signal.throwIfAborted()
      return {}
    },
  })
  const jobs = [await enqueue(), await enqueue(), await enqueue(), await enqueue()]
  for (const jobId of jobs) await until("completed", jobId)
  for (const jobId of jobs) {
    expect(starts.get(jobId)).toBeLessThanOrEqual(2)
    expect(Number(await field(jobId, "stc"))).toBeLessThanOrEqual(1)
  }
  expect(consumer.ended.filter(({ ending }) => ending.kind === "committed")).toHaveLength(4)
})

test("a long job keeps its lock for longer than a lock lasts without renewal", async () => {
  const consumer = consume({
    run: async () => {
      await new Promise((resolve) => setTimeout(resolve, 7_000))
      return {}
    },
  })
  const jobId = await enqueue()
  await until("completed", jobId)
  expect(consumer.ended).toHaveLength(1)
  expect(await field(jobId, "stc")).toBeNull()
})

const UPLOAD = {
  ...{ token: "u1", destinationKey: "d", sourceKey: "s", sourceEtag: "e" },
  ...{ sourceSize: 48, partSize: 16, plaintextSize: 40 },
}
const RECEIPT = { size: 16, tag: "t1", crc32: 4_294_967_295, syncErrors: 0 }

test("another worker finishes what a killed one began, from its checkpoint", async () => {
  const fixture = fileURLToPath(new URL("../../fixtures/worker-process.ts", import.meta.url))
  const killed: ChildProcess = spawn(process.execPath, [fixture, redis.url, queue], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  ends.push(() => killed.kill("SIGKILL"))
  const jobId = await enqueue()
  await once(killed.stdout!, "data")
  killed.kill("SIGKILL")
  const left: unknown[] = []
  const consumer = consume({
    run: async (_, { checkpoint }) => {
      left.push(await checkpoint.load())
      return {}
    },
  })
  await until("completed", jobId)
  expect(left).toMatchObject([{ upload: { token: "upload-of-the-killed" } }])
  expect(consumer.ended).toMatchObject([{ attempt: 1, ending: { kind: "committed" } }])
  expect(await field(jobId, "stc")).toBe("1")
  expect(await client.exists(checkpointKey(queue, jobId))).toBe(0)
})

test("a job that has killed its workers too often is a dead letter without another run", async () => {
  const one = newPayload()
  const jobId = await enqueue(one)
  await client.hset(queueKey(queue, jobId), "stc", String(STALL_LIMIT + 1))
  const consumer = consume({ run: async () => ({}) })
  await until("failed", jobId)
  expect(await field(jobId, "failedReason")).toBe(
    `ERR_STALLED: ${STALL_LIMIT + 1} workers ended while they had this job`,
  )
  expect(consumer.ended).toMatchObject([{ ending: { kind: "dead-letter", code: "ERR_STALLED" } }])
})

test("recovers by itself after Redis was down, at boot and later", async () => {
  const own = await startRedis()
  ends.push(() => own.close())
  await own.stop()
  const connection = new Redis(own.url, { lazyConnect: true, retryStrategy: () => 100 })
  connection.on("error", () => {})
  ends.push(() => connection.disconnect())
  const consumer = consume({ connection, run: async () => ({}) })
  const producer = createProducer({ connection, queue, deadlineMs: 10_000 })
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
  const producer = createProducer({ connection, queue, deadlineMs: 10_000 })
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
  const view = new Queue(queue, { connection: client, prefix: queuePrefix(queue) })
  expect((await Job.fromId(view, jobId))?.id).toBe(jobId)
  expect(view.toKey("wait")).toBe(queueKey(queue, "wait"))
  await view.close()
})
