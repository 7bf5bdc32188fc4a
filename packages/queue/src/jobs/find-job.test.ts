import { UnsealError } from "@unseal/archive/errors"
import { afterEach, beforeEach, expect, test } from "vitest"
import { newPayload, useQueue } from "../../../../test/harness/queue.ts"
import { openDeadLetters } from "../dead-letters/dead-letters.ts"
import { type ConsumerOptions, createConsumer } from "../run/consumer.ts"
import type { RunResult } from "../run/ending.ts"
import { findJob } from "./find-job.ts"

const current = useQueue("find-job")
let ends: (() => Promise<unknown>)[]
beforeEach(() => {
  ends = []
})
afterEach(async () => {
  for (const end of ends.reverse()) await end()
})

const enqueue = async (): Promise<string> => (await current.producer.enqueue(newPayload())).jobId

function consume(run: ConsumerOptions<RunResult>["run"]) {
  const consumer = createConsumer<RunResult>({
    ...{ connection: current.client, queue: current.name, concurrency: 1, lockMs: 2_000 },
    run,
    observe: { ended() {} },
  })
  ends.push(() => consumer.close())
  return consumer
}

const find = (jobId: string) => findJob(current.client, current.name, jobId)

test("a job that nobody added is not found", async () => {
  expect(await find("100001_a_b")).toBeNull()
})

test("a job that waits or runs is live, and one that ended is completed", async () => {
  const jobId = await enqueue()
  expect(await find(jobId)).toEqual({ jobId, state: "live", nextId: `${jobId}_r2` })
  const running = Promise.withResolvers<void>()
  const end = Promise.withResolvers<void>()
  consume(async () => {
    running.resolve()
    await end.promise
    return {}
  })
  await running.promise
  expect(await find(jobId)).toMatchObject({ state: "live" })
  end.resolve()
  await expect.poll(() => find(jobId)).toEqual({ jobId, state: "completed", nextId: `${jobId}_r2` })
})

test("a redriven job is found by its first id, whatever its state", async () => {
  const jobId = await enqueue()
  const consumer = consume(async () => {
    throw new UnsealError("ERR_NO_MATCHING_KEY", "none of 1 keys fits")
  })
  await expect.poll(() => find(jobId)).toEqual({ jobId, state: "dead", nextId: `${jobId}_r2` })
  await consumer.close()
  const deadLetters = openDeadLetters({ connection: current.client, queue: current.name })
  ends.push(() => deadLetters.close())
  await deadLetters.redrive(jobId)
  expect(await find(jobId)).toEqual({ jobId: `${jobId}_r2`, state: "live", nextId: `${jobId}_r3` })
  expect(await find(`${jobId}_r2`)).toEqual({ jobId: `${jobId}_r2`, state: "live", nextId: `${jobId}_r3` })
  consume(async () => ({}))
  await expect.poll(() => find(jobId)).toMatchObject({ jobId: `${jobId}_r2`, state: "completed" })
})
