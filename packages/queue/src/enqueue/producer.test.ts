import { randomUUID } from "node:crypto"
import { Redis } from "ioredis"
import { afterEach, beforeEach, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { createJobPayload, jobIdOf } from "../jobs/job.ts"
import { queueKey } from "../names.ts"
import { readMemory } from "../redis/server.ts"
import { queueStatus } from "../status.ts"
import { createProducer, type Producer, QueueUnavailableError } from "./producer.ts"

const QUEUE = "producer-test"
const CANARY = "Y2FuYXJ5LXBhc3N3b3Jk"

let redis: RedisServer
let ends: (() => Promise<unknown> | unknown)[]

beforeEach(async () => {
  redis = await startRedis()
  ends = []
})
afterEach(async () => {
  for (const end of ends.reverse()) await end()
  await redis.close()
})

function open(deadlineMs = 2_000, options: { pendingLimit?: number } = {}): Producer {
  const connection = new Redis(redis.url, {
    enableOfflineQueue: false,
    retryStrategy: () => 100,
  })
  connection.on("error", () => {})
  const producer = createProducer({ connection, queue: QUEUE, deadlineMs, ...options })
  ends.push(() => connection.disconnect(), producer.close)
  return producer
}

const payload = (archiveId: string = randomUUID()) =>
  createJobPayload({
    projectId: "100001",
    archiveId,
    encryptedPassword: CANARY,
    status: "uploaded",
    receivedAt: new Date().toISOString(),
    nonce: randomUUID(),
  })

async function refusal(work: Promise<unknown>): Promise<QueueUnavailableError> {
  const error = await work.then(
    () => new Error("was not refused"),
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(QueueUnavailableError)
  expect(String(error)).not.toContain(CANARY)
  return error as QueueUnavailableError
}

test("of 100 callbacks for one archive, over four producers at once, exactly one is enqueued", async () => {
  const producers = [open(20_000), open(20_000), open(20_000), open(20_000)]
  const archiveId = randomUUID()
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, index) => producers[index % 4]!.enqueue(payload(archiveId))),
  )
  expect(answers.filter(({ outcome }) => outcome === "enqueued")).toHaveLength(1)
  expect(new Set(answers.map(({ jobId }) => jobId))).toEqual(new Set([jobIdOf(payload(archiveId))]))
  const client = new Redis(redis.url)
  ends.push(() => client.disconnect())
  expect((await queueStatus(client, QUEUE)).jobs.waiting).toBe(1)
})

test("each of many archives that arrive together gets its own answer", async () => {
  const producer = open(20_000)
  const known = Array.from({ length: 20 }, () => payload())
  await Promise.all(known.map((one) => producer.enqueue(one)))
  const mixed = Array.from({ length: 100 }, (_, index) =>
    index % 5 === 0 ? payload(known[index / 5]!.archiveId) : payload(),
  )
  const answers = await Promise.all(mixed.map((one) => producer.enqueue(one)))
  expect(answers).toEqual(
    mixed.map((one, index) => ({
      outcome: index % 5 === 0 ? "duplicate" : "enqueued",
      jobId: jobIdOf(one),
    })),
  )
})

test("the same payload is enqueued, however often it is tried", async () => {
  const producer = open()
  const one = payload()
  expect((await producer.enqueue(one)).outcome).toBe("enqueued")
  expect((await producer.enqueue(one)).outcome).toBe("enqueued")
  expect((await producer.enqueue({ ...one, nonce: "another" })).outcome).toBe("duplicate")
})

test("another password for the same archive is another job", async () => {
  const producer = open()
  const one = payload()
  await producer.enqueue({ ...one, encryptedPassword: "Zm9yZ2Vk" })
  expect((await producer.enqueue(one)).outcome).toBe("enqueued")
})

test("refuses within its deadline while Redis is down at boot, and works when it is up", async () => {
  await redis.stop()
  const producer = open(300)
  const before = Date.now()
  await refusal(producer.enqueue(payload()))
  expect(Date.now() - before).toBeGreaterThanOrEqual(290)
  await redis.restart()
  await expect.poll(() => producer.enqueue(payload()).catch(() => null), { timeout: 20_000 }).not.toBeNull()
})

test("refuses within its deadline while Redis is frozen, and works afterwards", async () => {
  const producer = open(1_500)
  await producer.enqueue(payload())
  const late = payload()
  process.kill(redis.pid, "SIGSTOP")
  try {
    expect((await refusal(producer.enqueue(late))).message).toContain("1500 ms")
  } finally {
    process.kill(redis.pid, "SIGCONT")
  }
  await expect.poll(() => producer.enqueue(payload()).catch(() => null), { timeout: 20_000 }).not.toBeNull()
  // The one that was refused in doubt has landed. By the nonce, the sender's next try recognises it as its own.
  expect((await producer.enqueue(late)).outcome).toBe("enqueued")
})

test("the number of jobs that wait for a frozen Redis is bounded", async () => {
  const producer = open(1_500, { pendingLimit: 3 })
  await producer.enqueue(payload())
  process.kill(redis.pid, "SIGSTOP")
  try {
    const stuck = [1, 2, 3].map(() => refusal(producer.enqueue(payload())))
    expect((await refusal(producer.enqueue(payload()))).message).toContain("3 jobs are waiting to be added")
    await Promise.all(stuck)
  } finally {
    process.kill(redis.pid, "SIGCONT")
  }
})

test("recovers after Redis crashed and came back with everything that was acknowledged", async () => {
  const producer = open(1_500)
  const kept = payload()
  await producer.enqueue(kept)
  await redis.stop("SIGKILL")
  await refusal(producer.enqueue(payload()))
  await redis.restart()
  await expect.poll(() => producer.enqueue(payload()).catch(() => null), { timeout: 20_000 }).not.toBeNull()
  expect((await producer.enqueue({ ...kept, nonce: "later" })).outcome).toBe("duplicate")
})

test("a full or read-only Redis is a refusal that names it", async () => {
  const producer = open()
  const client = new Redis(redis.url)
  ends.push(() => client.disconnect())
  await producer.enqueue(payload())
  await client.config("SET", "maxmemory", "1")
  expect((await refusal(producer.enqueue(payload()))).message).toMatch(/OOM|maxmemory/)
  await client.config("SET", "maxmemory", "0")
  await expect.poll(() => producer.enqueue(payload()).catch(() => null), { timeout: 20_000 }).not.toBeNull()
  await client.replicaof("127.0.0.1", "1")
  expect((await refusal(producer.enqueue(payload()))).message).toContain("READONLY")
  await client.replicaof("NO", "ONE")
  expect((await producer.enqueue(payload())).outcome).toBe("enqueued")
})

test("refuses from 80 % of Redis's memory on, while Redis itself would still accept jobs", async () => {
  const client = new Redis(redis.url)
  ends.push(() => client.disconnect())
  const { usedBytes } = await readMemory(client, "unseal")
  await client.config("SET", "maxmemory", Math.round(usedBytes / 0.85))
  const producer = open()
  expect((await refusal(producer.enqueue(payload()))).message).toContain("% of its maxmemory")
  await client.set("still", "taken")
  await client.config("SET", "maxmemory", usedBytes * 10)
  await expect.poll(() => producer.enqueue(payload()).catch(() => null), { timeout: 20_000 }).not.toBeNull()
})

test("a job that has lost its payload is no duplicate: its callback takes its place", async () => {
  const producer = open()
  const one = payload()
  const { jobId } = await producer.enqueue(one)
  const client = new Redis(redis.url)
  ends.push(() => client.disconnect())
  await client.hdel(queueKey(QUEUE, jobId), "data")
  const answers = await Promise.all([producer.enqueue(one), producer.enqueue(payload())])
  expect(answers).toMatchObject([{ outcome: "enqueued", jobId }, { outcome: "enqueued" }])
  expect(await client.hget(queueKey(QUEUE, jobId), "data")).toContain(one.nonce)
})

test("refuses when it is closed", async () => {
  const producer = open()
  await producer.enqueue(payload())
  await producer.close()
  expect((await refusal(producer.enqueue(payload()))).message).toContain("closed")
})
