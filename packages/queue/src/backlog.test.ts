import { randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import { Queue } from "bullmq"
import { afterEach, expect, test } from "vitest"
import { newPayload, useQueue } from "../../../test/harness/queue.ts"
import { readBacklog } from "./backlog.ts"
import { openDeadLetters } from "./dead-letters/dead-letters.ts"
import { countersKey, queueKey, queuePrefix } from "./names.ts"
import { pauseQueue } from "./pause.ts"
import { type Consumer, type ConsumerOptions, createConsumer } from "./run/consumer.ts"
import type { RunResult } from "./run/ending.ts"

const MIB = 2 ** 20
const GIB = 2 ** 30

const current = useQueue("backlog")
let consumers: Consumer[] = []
afterEach(async () => {
  for (const consumer of consumers) await consumer.close()
  consumers = []
})

const enqueue = async (size?: number, projectId?: string) => {
  const payload = newPayload(projectId, size === undefined ? {} : { size })
  return { payload, ...(await current.producer.enqueue(payload)) }
}
const backlog = () => readBacklog(current.client, current.name)
const bytes = async () => {
  const { waitingBytes, activeBytes, delayedBytes } = await backlog()
  return { waiting: waitingBytes, active: activeBytes, delayed: delayedBytes }
}
const counter = async () => Number(await current.client.hget(countersKey(current.name), "bytes"))
const fieldOf = (jobId: string) => current.client.hget(queueKey(current.name, jobId), "bytes")

function consume(run: ConsumerOptions<RunResult>["run"], concurrency = 4): Consumer {
  const consumer = createConsumer<RunResult>({
    ...{ connection: current.client, queue: current.name, concurrency, lockMs: 2_000, stallCheckMs: 300 },
    run,
    observe: { ended() {} },
  })
  consumers.push(consumer)
  return consumer
}
const untilAborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))

test("an empty queue has no backlog", async () => {
  expect(await backlog()).toEqual({
    waitingBytes: 0,
    waitingBulkBytes: 0,
    activeBytes: 0,
    delayedBytes: 0,
    isPaused: false,
  })
})

test("accepted archives wait with the size that their callbacks announce, each once", async () => {
  const { payload } = await enqueue(300 * MIB)
  for (let count = 0; count < 20; count++) await current.producer.enqueue({ ...payload, nonce: randomUUID() })
  await enqueue(0)
  await enqueue(1)
  expect(await bytes()).toEqual({ waiting: 300 * MIB + 1, active: 0, delayed: 0 })
})

test("an archive without an announced size counts as 1 GiB, and none counts for more than 64 GiB", async () => {
  await enqueue()
  expect((await bytes()).waiting).toBe(GIB)
  await enqueue(Number.MAX_SAFE_INTEGER)
  expect((await bytes()).waiting).toBe(65 * GIB)
})

test("bulk archives wait, run and end with their bytes, apart from live ones", async () => {
  for (let count = 0; count < 3; count++)
    await current.producer.enqueue(newPayload("7", { lane: "bulk", size: MIB }))
  await enqueue(5 * MIB)
  expect(await backlog()).toMatchObject({ waitingBytes: 8 * MIB, waitingBulkBytes: 3 * MIB })
  const release = Promise.withResolvers<RunResult>()
  const consumer = consume(() => release.promise, 2)
  // The live one and one bulk archive run.
  await expect
    .poll(backlog)
    .toMatchObject({ waitingBytes: 2 * MIB, waitingBulkBytes: 2 * MIB, activeBytes: 6 * MIB })
  release.resolve({})
  await expect.poll(counter).toBe(0)
  await consumer.close()
  expect(await current.client.hget(countersKey(current.name), "bulkBytes")).toBe("0")
  // The counter of what a tool removed is corrected once nothing waits.
  await current.client.hset(countersKey(current.name), "bulkBytes", 7 * MIB)
  expect(await backlog()).toMatchObject({ waitingBytes: 0, waitingBulkBytes: 0 })
  expect(await current.client.hget(countersKey(current.name), "bulkBytes")).toBe("0")
})

test("an archive that runs is active, and none of its bytes are left when it is committed", async () => {
  for (let count = 0; count < 3; count++) await enqueue(MIB)
  const release = Promise.withResolvers<RunResult>()
  consume(() => release.promise, 2)
  await expect.poll(bytes).toEqual({ waiting: MIB, active: 2 * MIB, delayed: 0 })
  release.resolve({})
  await expect.poll(counter).toBe(0)
  expect(await bytes()).toEqual({ waiting: 0, active: 0, delayed: 0 })
})

test("a job that is handed back waits again, with its bytes", async () => {
  await enqueue(MIB)
  const consumer = consume((_, { signal }) => untilAborted(signal))
  await expect.poll(async () => (await bytes()).active).toBe(MIB)
  await consumer.close()
  expect(await bytes()).toEqual({ waiting: MIB, active: 0, delayed: 0 })
  expect(await counter()).toBe(MIB)
})

test("an archive whose object is missing is delayed, and nothing waits", async () => {
  await enqueue(5 * MIB)
  consume(async () => {
    throw new UnsealError("ERR_OBJECT_NOT_FOUND", "neither of 2 keys exists")
  })
  await expect.poll(bytes).toEqual({ waiting: 0, active: 0, delayed: 5 * MIB })
})

test("archives that a suspension holds are delayed, and those of other projects wait", async () => {
  for (let count = 0; count < 5; count++) await enqueue(MIB, "100001")
  const consumer = consume(async () => {
    throw Object.assign(new UnsealError("ERR_STORE_DENIED", "access denied"), { side: "source" })
  })
  await expect.poll(async () => (await bytes()).delayed, { timeout: 10_000 }).toBe(5 * MIB)
  await consumer.close()
  await enqueue(7 * MIB, "200002")
  expect(await bytes()).toEqual({ waiting: 7 * MIB, active: 0, delayed: 5 * MIB })
}, 20_000)

test("a dead letter is not backlog; redriven it counts again, once; discarded it does not", async () => {
  const small = await enqueue(MIB)
  const large = await enqueue(2 * MIB)
  const consumer = consume(async () => {
    throw new UnsealError("ERR_NO_MATCHING_KEY", "none of 1 keys fits")
  })
  const letters = openDeadLetters({ connection: current.client, queue: current.name })
  try {
    await expect.poll(async () => (await letters.list()).length).toBe(2)
    await consumer.close()
    expect(await counter()).toBe(0)
    await Promise.all([letters.redrive(large.jobId), letters.redrive(large.jobId)])
    expect(await bytes()).toEqual({ waiting: 2 * MIB, active: 0, delayed: 0 })
    await letters.discard(small.jobId)
    expect(await counter()).toBe(2 * MIB)
    consume(async () => ({}))
    await expect.poll(counter).toBe(0)
  } finally {
    await letters.close()
  }
})

test("an orphaned job that is put back in line counts once", async () => {
  const { jobId, payload } = await enqueue(3 * MIB)
  await current.client.zrem(queueKey(current.name, "prioritized"), jobId)
  await current.producer.enqueue({ ...payload, nonce: randomUUID() })
  expect(await counter()).toBe(3 * MIB)
  consume(async () => ({}))
  await expect.poll(counter).toBe(0)
})

test("a live job that has lost its payload leaves its bytes to the callback that replaces it", async () => {
  const { jobId, payload } = await enqueue(3 * MIB)
  await current.client.hdel(queueKey(current.name, jobId), "data")
  await current.producer.enqueue({ ...payload, size: 4 * MIB, nonce: randomUUID() })
  expect(await counter()).toBe(4 * MIB)
})

test("a committed archive whose callback comes again adds nothing, and one whose job is forgotten counts anew", async () => {
  const { jobId, payload } = await enqueue(MIB)
  consume(async () => ({}))
  await expect.poll(counter).toBe(0)
  await consumers[0]!.close()
  await current.producer.enqueue({ ...payload, nonce: randomUUID() })
  expect(await counter()).toBe(0)
  expect(await fieldOf(jobId)).toBeNull()
  await current.client.zrem(queueKey(current.name, "completed"), jobId)
  await current.client.del(queueKey(current.name, jobId))
  await current.producer.enqueue(payload)
  expect(await counter()).toBe(MIB)
})

test("a pause is reported, and what waits still counts", async () => {
  await enqueue(MIB)
  await pauseQueue(current.client, current.name)
  expect(await backlog()).toMatchObject({ waitingBytes: MIB, isPaused: true })
})

test.each(["", "junk", "1.5", "-7", "9".repeat(400)])(
  "a job whose size was damaged to %j ends all the same",
  async (text) => {
    const { jobId } = await enqueue(MIB)
    await current.client.hset(queueKey(current.name, jobId), "bytes", text)
    const ended = Promise.withResolvers<void>()
    consume(async () => {
      ended.resolve()
      return {}
    })
    await ended.promise
    await expect.poll(() => current.client.zscore(queueKey(current.name, "completed"), jobId)).not.toBeNull()
    expect(await bytes()).toEqual({ waiting: 0, active: 0, delayed: 0 })
  },
)

test("a damaged counter keeps no archive from being added, and none from ending", async () => {
  await current.client.hset(countersKey(current.name), "bytes", "junk")
  const { jobId, outcome } = await enqueue(MIB)
  expect(outcome).toBe("enqueued")
  expect(await backlog()).toMatchObject({ activeBytes: 0, delayedBytes: 0 })
  consume(async () => ({}))
  await expect.poll(() => current.client.zscore(queueKey(current.name, "completed"), jobId)).not.toBeNull()
  await backlog()
  expect(await counter()).toBe(0)
})

test("what an earlier version's worker ended, or a tool removed, counts until nothing waits", async () => {
  const [removed, kept] = [await enqueue(MIB), await enqueue(2 * MIB)]
  const tool = new Queue(current.name, {
    ...{ connection: current.client, prefix: queuePrefix(current.name), skipVersionCheck: true },
  })
  await tool.remove(removed.jobId)
  expect((await bytes()).waiting).toBe(3 * MIB)
  await tool.remove(kept.jobId)
  await tool.close()
  expect(await bytes()).toEqual({ waiting: 0, active: 0, delayed: 0 })
  await enqueue(5 * MIB)
  expect((await bytes()).waiting).toBe(5 * MIB)
})

test("a job of an earlier version, which has no size in Redis, counts as 0 and ends", async () => {
  const { jobId } = await enqueue(MIB)
  await current.client.hdel(queueKey(current.name, jobId), "bytes")
  await current.client.hset(countersKey(current.name), "bytes", 0)
  expect(await bytes()).toEqual({ waiting: 0, active: 0, delayed: 0 })
  consume(async () => ({}))
  await expect.poll(() => current.client.zscore(queueKey(current.name, "completed"), jobId)).not.toBeNull()
  expect(await counter()).toBe(0)
})

test("of many delayed jobs, 500 stand for all", async () => {
  const writing = current.client.pipeline()
  for (let number = 0; number < 5_000; number++) {
    writing.hset(queueKey(current.name, `late-${number}`), "bytes", (number % 7) + 1)
    writing.zadd(queueKey(current.name, "delayed"), number, `late-${number}`)
  }
  const inAll = 19_995
  writing.hset(countersKey(current.name), "bytes", inAll + MIB)
  writing.zadd(queueKey(current.name, "prioritized"), 1, "waits")
  await writing.exec()
  const { waiting, delayed } = await bytes()
  expect(waiting + delayed).toBe(inAll + MIB)
  expect(Math.abs(delayed - inAll)).toBeLessThan(inAll / 100)
})
