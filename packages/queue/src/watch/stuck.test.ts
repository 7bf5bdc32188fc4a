/** Runs that get stuck, on a real queue: what the watchdog (watchdog.ts) does to job and process. */
import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { newPayload } from "../../../../test/harness/queue.ts"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { createProducer } from "../enqueue/producer.ts"
import { queueKey } from "../names.ts"
import { createConsumer, type EndedRun, type JobContext } from "../run/consumer.ts"
import type { RunResult } from "../run/ending.ts"

let redis: RedisServer
let client: Redis
let queue: string
let ends: (() => unknown)[]
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
beforeEach(() => {
  queue = `stuck-${randomUUID().slice(0, 8)}`
  client = new Redis(redis.url)
  ends = [() => client.disconnect()]
})
afterEach(async () => {
  for (const end of ends.reverse()) await end()
})

async function enqueue(): Promise<string> {
  const producer = createProducer({ connection: client, queue, deadlineMs: 10_000 })
  const { jobId } = await producer.enqueue(newPayload())
  await producer.close()
  return jobId
}

function consume(run: (context: JobContext) => Promise<RunResult>, attempts = 12) {
  const ended: EndedRun<RunResult>[] = []
  const stuck: string[] = []
  const consumer = createConsumer({
    ...{ connection: client, queue, concurrency: 4, lockMs: 3_000, stallCheckMs: 300, attempts },
    watchdog: { limitMs: 500, graceMs: 60_000, checkMs: 50 },
    run: (_, context) => run(context),
    observe: { ended: (one) => ended.push(one), stuck: (_, { message }) => stuck.push(message) },
  })
  ends.push(() => consumer.close())
  return { consumer, ended, stuck }
}

test("a run whose source never answers, but which heeds its signal, is retried and uses an attempt", async () => {
  const { consumer, ended, stuck } = consume(async ({ progress, signal }) => {
    progress.begin("looking at the source")()
    progress.begin("reading part 3", "part")
    // A store may reject with an error of its own after an abort. The reason of the abort counts.
    await sleep(60_000, undefined, { signal })
    return {}
  })
  const jobId = await enqueue()
  await expect.poll(() => ended.length, { timeout: 20_000 }).toBe(1)
  const message = expect.stringMatching(/^no part, no step and no byte for [\d.]+ s while reading part 3$/)
  expect(stuck).toEqual([message])
  expect(ended).toMatchObject([
    {
      ending: { kind: "retry", code: "ERR_RUN_STUCK", reason: `ERR_RUN_STUCK: ${stuck[0]}` },
      error: { name: "RunStuckError", message },
    },
  ])
  await expect.poll(() => consumer.active, { timeout: 5_000 }).toBe(0)
  expect(await client.hget(queueKey(queue, jobId), "atm")).toBe("1")
})

test("the last attempt of a job that is always stuck is a dead letter with the step that it waited in", async () => {
  const { ended } = consume(async ({ progress, signal }) => {
    progress.begin("unwrapping the key")
    await sleep(60_000, undefined, { signal })
    return {}
  }, 1)
  const jobId = await enqueue()
  await expect.poll(() => ended.length, { timeout: 20_000 }).toBe(1)
  expect(ended[0]).toMatchObject({ ending: { kind: "dead-letter", code: "ERR_RUN_STUCK" } })
  await expect
    .poll(() => client.hget(queueKey(queue, jobId), "failedReason"), { timeout: 5_000 })
    .toMatch(/^ERR_RUN_STUCK: no part, .* while unwrapping the key$/)
})

test("a slow run that moves is left alone, however many locks it lasts", async () => {
  const { ended, stuck } = consume(async ({ progress }) => {
    progress.begin("reading part 1", "part")
    for (let piece = 0; piece < 30; piece++) {
      await sleep(100)
      progress.moved()
    }
    return { done: true }
  })
  await enqueue()
  await expect.poll(() => ended.length, { timeout: 20_000 }).toBe(1)
  expect([stuck, ended[0]?.ending.kind]).toEqual([[], "committed"])
})

test("a worker whose run does not end after its abort ends itself, naming the run and what it waited for", async () => {
  const fixture = fileURLToPath(new URL("../../fixtures/stuck-process.ts", import.meta.url))
  const worker = spawn(process.execPath, [fixture, redis.url, queue])
  ends.push(() => worker.kill("SIGKILL"))
  const output = Promise.all([text(worker.stdout), text(worker.stderr), once(worker, "exit")])
  const jobId = await enqueue()
  const [told, last, [code]] = await output
  expect(told).toMatch(`${jobId}: no part, no step and no byte for `)
  expect(last).toContain(
    `a run that is stuck did not end within 0.5 s after its abort: job ${jobId}, reading part 1`,
  )
  expect(code).not.toBe(0)
  // Its job is found as stalled, and another worker does it.
  const { ended } = consume(async () => ({}))
  await expect.poll(() => ended.length, { timeout: 20_000 }).toBe(1)
  expect(ended[0]).toMatchObject({ jobId, attempt: 1, ending: { kind: "committed" } })
}, 60_000)
