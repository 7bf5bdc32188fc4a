import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { Redis } from "ioredis"
import { expect, test } from "vitest"
import { consume, current, ends, enqueue, field, stateOf, until } from "../../../../test/harness/consumer.ts"
import { newPayload } from "../../../../test/harness/queue.ts"
import { checkpointKey, lockKey, queueKey } from "../names.ts"
import { type JobContext, STALL_LIMIT } from "./consumer.ts"
import { LockLostError } from "./lock.ts"

/** A run that ends only by its signal. */
const untilAborted = (context: JobContext) =>
  new Promise<never>((_, reject) =>
    context.signal.addEventListener("abort", () => reject(context.signal.reason), { once: true }),
  )

const UPLOAD = {
  ...{ token: "u1", destinationKey: "d", sourceKey: "s", sourceEtag: "e" },
  ...{ sourceSize: 48, partSize: 16, plaintextSize: 40 },
}
const RECEIPT = { size: 16, tag: "t1", crc32: 4_294_967_295, syncErrors: 0 }

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
    expect(await current.client.exists(lockKey(current.name, jobId))).toBe(0)
  }
  expect((await current.client.lrange(queueKey(current.name, "wait"), 0, -1)).sort()).toEqual(jobs.sort())
  expect(await current.client.zrange(queueKey(current.name, "prioritized"), 0, "-1")).toEqual([later])
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
  expect(await current.client.exists(checkpointKey(current.name, jobId))).toBe(1)
  await consumer.close()
  expect(await stateOf(jobId)).toBe("completed")
  expect(await current.client.exists(checkpointKey(current.name, jobId))).toBe(0)
})

test("closes within 5 s while Redis is frozen, and if Redis was never there", async () => {
  const nowhere = new Redis({ port: 1, lazyConnect: true })
  const lost = consume({ connection: nowhere, run: async () => ({}) })
  const consumer = consume({ run: (_, context) => untilAborted(context) })
  await enqueue()
  await expect.poll(() => consumer.active, { timeout: 20_000 }).toBe(1)
  process.kill(current.redis.pid, "SIGSTOP")
  try {
    const before = Date.now()
    await Promise.all([consumer.close(), lost.close()])
    expect(Date.now() - before).toBeLessThan(5_500)
  } finally {
    process.kill(current.redis.pid, "SIGCONT")
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
      await current.client.set(lockKey(current.name, context.jobId), "another", "PX", 1_000)
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
      await current.client.del(lockKey(current.name, jobId))
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
        await current.client.del(lockKey(current.name, context.jobId))
        await untilAborted(context).catch(() => {})
        // Waits until BullMQ has found the job as stalled and given it to this worker again.
        await expect
          .poll(() => current.client.exists(lockKey(current.name, context.jobId)), { timeout: 20_000 })
          .toBe(1)
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

test("another worker finishes what a killed one began, from its checkpoint", async () => {
  const fixture = fileURLToPath(new URL("../../fixtures/worker-process.ts", import.meta.url))
  const killed: ChildProcess = spawn(process.execPath, [fixture, current.redis.url, current.name], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  ends.push(() => killed.kill("SIGKILL"))
  const jobId = await enqueue()
  await once(killed.stdout!, "data")
  killed.kill("SIGKILL")
  const left: unknown[] = []
  const ended: unknown[] = []
  const stalled: string[] = []
  consume({
    observe: { ended: (run) => ended.push(run), stalled: (id) => stalled.push(id) },
    run: async (_, { checkpoint }) => {
      left.push(await checkpoint.load())
      return {}
    },
  })
  await until("completed", jobId)
  expect(left).toMatchObject([{ upload: { token: "upload-of-the-killed" } }])
  expect(ended).toMatchObject([{ attempt: 1, starts: 2, ending: { kind: "committed" } }])
  expect(stalled).toEqual([jobId])
  expect(await field(jobId, "stc")).toBe("1")
  expect(await current.client.exists(checkpointKey(current.name, jobId))).toBe(0)
})

test("a job that has killed its workers too often is a dead letter without another run", async () => {
  const one = newPayload()
  const jobId = await enqueue(one)
  await current.client.hset(queueKey(current.name, jobId), "stc", String(STALL_LIMIT + 1))
  const consumer = consume({ run: async () => ({}) })
  await until("failed", jobId)
  expect(await field(jobId, "failedReason")).toBe(
    `ERR_STALLED: ${STALL_LIMIT + 1} workers ended while they had this job`,
  )
  expect(consumer.ended).toMatchObject([{ ending: { kind: "dead-letter", code: "ERR_STALLED" } }])
})
