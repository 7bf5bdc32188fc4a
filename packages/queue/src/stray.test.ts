import { randomUUID } from "node:crypto"
import { Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../../../test/harness/redis.ts"
import { readAccounts } from "./accounting.ts"
import { findJob } from "./find-job.ts"
import { createJobPayload } from "./job.ts"
import { queueKey } from "./names.ts"
import { createProducer, type Producer } from "./producer.ts"

let redis: RedisServer
let client: Redis
let queue: string
let producer: Producer

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
beforeEach(() => {
  queue = `stray-${randomUUID().slice(0, 8)}`
  client = new Redis(redis.url)
  producer = createProducer({ connection: client, queue, deadlineMs: 20_000 })
})
afterEach(async () => {
  await producer.close()
  client.disconnect()
})

const callback = (archiveId: string) =>
  createJobPayload({
    ...{ projectId: "100001", archiveId, encryptedPassword: "d3JhcHBlZA==", status: "uploaded" },
    ...{ receivedAt: new Date().toISOString(), nonce: randomUUID() },
  })
const key = (type: string) => queueKey(queue, type)

/** A job whose addition has reached the queue by half: it is in no line. */
async function enqueueStray(archiveId: string): Promise<string> {
  const { jobId } = await producer.enqueue(callback(archiveId))
  expect(await client.zrem(key("prioritized"), jobId)).toBe(1)
  return jobId
}

test("a stray is not found, and the next callback for it begins its work", async () => {
  const archiveId = randomUUID()
  const jobId = await enqueueStray(archiveId)
  expect(await readAccounts(client, queue)).toMatchObject({ accepted: 1, live: 0, missing: 1 })
  expect(await findJob(client, queue, jobId)).toBeNull()

  expect(await producer.enqueue(callback(archiveId))).toEqual({ outcome: "enqueued", jobId })
  expect(await findJob(client, queue, jobId)).toMatchObject({ state: "live" })
  expect(await readAccounts(client, queue)).toMatchObject({ accepted: 1, live: 1, missing: 0 })
  expect((await producer.enqueue(callback(archiveId))).outcome).toBe("duplicate")
})

test("a stray that nobody has counted costs the books nothing", async () => {
  const archiveId = randomUUID()
  const jobId = await enqueueStray(archiveId)
  await client.hdel(key(jobId), "counted")
  await client.hset(`{${queue}}:counters`, "accepted", 0)
  await producer.enqueue(callback(archiveId))
  expect(await readAccounts(client, queue)).toMatchObject({ accepted: 1, live: 1, missing: 0 })
})

test.each(["active", "wait", "paused"])("a job that is in %s is no stray", async (list) => {
  const archiveId = randomUUID()
  const jobId = await enqueueStray(archiveId)
  await client.lpush(key(list), "another", jobId, "a-third")
  expect(await findJob(client, queue, jobId)).toMatchObject({ state: "live" })
  expect((await producer.enqueue(callback(archiveId))).outcome).toBe("duplicate")
})

test.each([
  ["delayed", "live"],
  ["completed", "completed"],
  ["failed", "dead"],
])("a job that is in %s is no stray", async (set, state) => {
  const archiveId = randomUUID()
  const jobId = await enqueueStray(archiveId)
  await client.zadd(key(set), 1, jobId)
  expect(await findJob(client, queue, jobId)).toMatchObject({ state })
  expect((await producer.enqueue(callback(archiveId))).outcome).toBe("duplicate")
})
