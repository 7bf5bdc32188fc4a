import { UnsealError } from "@unseal/archive/errors"
import { afterEach, expect, test } from "vitest"
import { newPayload, useQueue } from "../../../test/harness/queue.ts"
import { openDeadLetters } from "./dead-letters/dead-letters.ts"
import { createProducer } from "./enqueue/producer.ts"
import { countersKey, queueKey, unfinishedKey } from "./names.ts"
import { readQueueState } from "./observer/queue-state.ts"
import { pauseQueue, resumeQueue } from "./pause.ts"
import { type ConsumerOptions, createConsumer } from "./run/consumer.ts"
import type { RunResult } from "./run/ending.ts"
import { noteSweep } from "./sweep-note.ts"
import { readOldestJobs } from "./unfinished-jobs.ts"

const current = useQueue("live")
const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

const oldest = () => readOldestJobs(current.client, current.name, "live")
const ids = () => current.client.zrange(unfinishedKey(current.name, "live"), "0", "-1")
const soon = { timeout: 30_000 }
const enqueue = async (projectId?: string, size?: number) =>
  (await current.producer.enqueue(newPayload(projectId, size === undefined ? {} : { size }))).jobId
/** Makes a live job older. */
const age = (jobId: string, seconds: number) =>
  current.client.zincrby(unfinishedKey(current.name, "live"), -1_000 * seconds, jobId)

function consume(run: ConsumerOptions<RunResult>["run"]): void {
  const consumer = createConsumer<RunResult>({
    ...{ connection: current.client, queue: current.name, concurrency: 4, lockMs: 2_000, stallCheckMs: 300 },
    run,
    observe: { ended() {} },
  })
  ends.push(() => consumer.close())
}

test("an empty queue has no oldest job", async () => {
  expect(await oldest()).toEqual({ unfinishedSeconds: 0, waitingSeconds: null })
})

test("the oldest waiting job is known although a thousand younger ones come before it in line", async () => {
  // A project's first archive was so large that its second is last in line.
  await enqueue("100001", 2 ** 40)
  const last = await enqueue("100001")
  await age(last, 500)
  await Promise.all(Array.from({ length: 60 }, () => enqueue("200002", 1)))
  expect((await oldest()).waitingSeconds).toBeGreaterThan(499)
  expect(
    (await readQueueState(current.client, current.name)).lanes.live.oldestWaitingSeconds,
  ).toBeGreaterThan(499)
})

test("a job that runs or is delayed is unfinished, but does not wait; a callback again makes it no younger", async () => {
  const payload = newPayload()
  const { jobId } = await current.producer.enqueue(payload)
  await age(jobId, 500)
  await current.producer.enqueue({ ...payload, nonce: "again" })
  const gate = Promise.withResolvers<RunResult>()
  let starts = 0
  consume(() => {
    starts++
    return gate.promise
  })
  await expect.poll(() => starts, soon).toBe(1)
  const running = await oldest()
  expect(running.waitingSeconds).toBeNull()
  expect(running.unfinishedSeconds).toBeGreaterThan(499)
  gate.reject(new Error("tried again later"))
  await expect.poll(() => current.client.zcard(queueKey(current.name, "delayed")), soon).toBe(1)
  const delayed = await oldest()
  expect(delayed.waitingSeconds).toBeNull()
  expect(delayed.unfinishedSeconds).toBeGreaterThan(499)
})

test("a job leaves when it is completed or a dead letter; a redriven one is live again", async () => {
  const dead = await enqueue("100001")
  await enqueue("200002")
  consume(async ({ projectId }) => {
    if (projectId === "100001") throw new UnsealError("ERR_NO_MATCHING_KEY", "as the test wants")
    return {}
  })
  await expect.poll(ids, soon).toEqual([])
  const state = await readQueueState(current.client, current.name)
  expect(state).toMatchObject({ jobs: { failed: 1, completed: 1 }, oldestUnfinishedSeconds: 0 })
  await pauseQueue(current.client, current.name)
  const letters = openDeadLetters({ connection: current.client, queue: current.name })
  ends.push(() => letters.close())
  const redriven = await letters.redrive(dead)
  expect(await ids()).toEqual([redriven!.jobId])
  await resumeQueue(current.client, current.name)
})

test("jobs that were removed by hand, or ended by an earlier version, are forgotten at the next look", async () => {
  const gone = await enqueue()
  const kept = await enqueue()
  await current.client.zrem(queueKey(current.name, "prioritized"), gone)
  await current.client.del(queueKey(current.name, gone))
  await age(gone, 900)
  expect((await oldest()).unfinishedSeconds).toBeLessThan(900)
  expect(await ids()).toEqual([kept])
})

test("only callbacks set the time of the last one, new and repeated ones alike", async () => {
  const state = () => readQueueState(current.client, current.name)
  await enqueue()
  expect((await state()).lastCallbackSeconds).toBeNull()
  const producer = createProducer({
    ...{ connection: current.client, queue: current.name, deadlineMs: 30_000, areCallbacks: true },
  })
  ends.push(() => producer.close())
  const payload = newPayload()
  await producer.enqueue(payload)
  await current.client.hincrby(countersKey(current.name), "callbackAt", -60_000)
  expect((await state()).lastCallbackSeconds).toBeGreaterThanOrEqual(60)
  expect((await producer.enqueue({ ...payload, nonce: "again" })).outcome).toBe("duplicate")
  expect((await state()).lastCallbackSeconds).toBeLessThan(60)
})

test("what the janitor left open is noted with its time", async () => {
  const state = () => readQueueState(current.client, current.name)
  expect((await state()).sweep).toBeNull()
  const uploads = { owned: 1, young: 2, orphan: 3, foreign: 4 }
  await noteSweep(current.client, current.name, uploads)
  expect((await state()).sweep).toMatchObject({ uploads })
  expect((await state()).sweep!.seconds).toBeLessThan(3_600)
})
