import { randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import { Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { openDeadLetters } from "../dead-letters/dead-letters.ts"
import { createProducer } from "../enqueue/producer.ts"
import { type ConsumerOptions, createConsumer } from "../run/consumer.ts"
import type { RunResult } from "../run/ending.ts"
import { findJob } from "./find-job.ts"
import { createJobPayload } from "./job.ts"

let redis: RedisServer
let client: Redis
let queue: string
let ends: (() => Promise<unknown> | unknown)[]

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
beforeEach(() => {
  queue = `find-job-${randomUUID().slice(0, 8)}`
  client = new Redis(redis.url)
  ends = [() => client.disconnect()]
})
afterEach(async () => {
  for (const end of ends.reverse()) await end()
})

async function enqueue(): Promise<string> {
  const producer = createProducer({ connection: client, queue, deadlineMs: 20_000 })
  ends.push(() => producer.close())
  const payload = createJobPayload({
    ...{ projectId: "100001", archiveId: randomUUID(), encryptedPassword: "d3JhcHBlZA==" },
    ...{ status: "uploaded", receivedAt: new Date().toISOString(), nonce: randomUUID() },
  })
  return (await producer.enqueue(payload)).jobId
}

function consume(run: ConsumerOptions<RunResult>["run"]) {
  const consumer = createConsumer<RunResult>({
    ...{ connection: client, queue, concurrency: 1, lockMs: 2_000 },
    run,
    observe: { ended() {} },
  })
  ends.push(() => consumer.close())
  return consumer
}

const find = (jobId: string) => findJob(client, queue, jobId)

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
  const deadLetters = openDeadLetters({ connection: client, queue })
  ends.push(() => deadLetters.close())
  await deadLetters.redrive(jobId)
  expect(await find(jobId)).toEqual({ jobId: `${jobId}_r2`, state: "live", nextId: `${jobId}_r3` })
  expect(await find(`${jobId}_r2`)).toEqual({ jobId: `${jobId}_r2`, state: "live", nextId: `${jobId}_r3` })
  consume(async () => ({}))
  await expect.poll(() => find(jobId)).toMatchObject({ jobId: `${jobId}_r2`, state: "completed" })
})
