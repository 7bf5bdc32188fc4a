import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { expect, test } from "vitest"
import { useQueue } from "../../../../test/harness/queue.ts"
import { readAccounts } from "../accounting.ts"
import { countersKey, queueKey } from "../names.ts"
import { createConsumer } from "../run/consumer.ts"
import { findJob } from "./find-job.ts"
import { createJobPayload } from "./job.ts"

const current = useQueue("orphaned")

const callback = (archiveId: string) =>
  createJobPayload({
    ...{ projectId: "100001", archiveId, encryptedPassword: "d3JhcHBlZA==", status: "uploaded" },
    ...{ receivedAt: new Date().toISOString(), nonce: randomUUID() },
  })
const key = (type: string) => queueKey(current.name, type)

/** A job whose addition only half reached the queue: it is in no line. */
async function enqueueOrphan(archiveId: string): Promise<string> {
  const { jobId } = await current.producer.enqueue(callback(archiveId))
  expect(await current.client.zrem(key("prioritized"), jobId)).toBe(1)
  return jobId
}

test("an orphaned job is not found, and the next callback for it starts its work", async () => {
  const archiveId = randomUUID()
  const jobId = await enqueueOrphan(archiveId)
  expect(await readAccounts(current.client, current.name)).toMatchObject({ accepted: 1, live: 0, missing: 1 })
  expect(await findJob(current.client, current.name, jobId)).toBeNull()

  expect(await current.producer.enqueue(callback(archiveId))).toEqual({ outcome: "enqueued", jobId })
  expect(await findJob(current.client, current.name, jobId)).toMatchObject({ state: "live" })
  expect(await readAccounts(current.client, current.name)).toMatchObject({ accepted: 1, live: 1, missing: 0 })
  expect((await current.producer.enqueue(callback(archiveId))).outcome).toBe("duplicate")
})

test("an orphaned job that is put back in line is begun by a waiting worker, with its own payload", async () => {
  const archiveId = randomUUID()
  const jobId = await enqueueOrphan(archiveId)
  const stored = JSON.parse((await current.client.hget(key(jobId), "data")) ?? "{}")
  await current.client.del(key("marker"))
  const begun = Promise.withResolvers<unknown>()
  const consumer = createConsumer({
    ...{ connection: current.client, queue: current.name, concurrency: 1 },
    async run(payload) {
      begun.resolve(payload)
      return {}
    },
    observe: { ended() {} },
  })
  try {
    await sleep(300)
    await current.producer.enqueue(callback(archiveId))
    expect(await begun.promise).toEqual(stored)
  } finally {
    await consumer.close()
  }
}, 4_000)

test("an orphan of a half-written completion, whose password is gone, runs with the new callback's password", async () => {
  const archiveId = randomUUID()
  const jobId = await enqueueOrphan(archiveId)
  const { encryptedPassword: _, ...kept } = JSON.parse(
    (await current.client.hget(key(jobId), "data")) ?? "{}",
  )
  await current.client.hset(key(jobId), {
    ...{ data: JSON.stringify(kept), returnvalue: '{"outcome":"committed"}', finishedOn: "1", atm: "1" },
  })
  const again = callback(archiveId)
  expect(await current.producer.enqueue(again)).toEqual({ outcome: "enqueued", jobId })
  const begun = Promise.withResolvers<unknown>()
  const consumer = createConsumer({
    ...{ connection: current.client, queue: current.name, concurrency: 1 },
    async run(payload) {
      begun.resolve(payload)
      return {}
    },
    observe: {
      ended: ({ ending }) => ending.kind === "dead-letter" && begun.reject(new Error(ending.reason)),
    },
  })
  try {
    expect(await begun.promise).toEqual(again)
    await expect.poll(() => current.client.zcard(key("completed")), { timeout: 30_000 }).toBe(1)
    expect(await readAccounts(current.client, current.name)).toMatchObject({ accepted: 1, missing: 0 })
  } finally {
    await consumer.close()
  }
})

test("an orphaned job that was never counted does not unbalance the accounts", async () => {
  const archiveId = randomUUID()
  const jobId = await enqueueOrphan(archiveId)
  await current.client.hdel(key(jobId), "counted")
  await current.client.hset(countersKey(current.name), "accepted", 0)
  await current.producer.enqueue(callback(archiveId))
  expect(await readAccounts(current.client, current.name)).toMatchObject({ accepted: 1, live: 1, missing: 0 })
})

test.each(["active", "wait", "paused"])("a job in %s is not orphaned", async (list) => {
  const archiveId = randomUUID()
  const jobId = await enqueueOrphan(archiveId)
  await current.client.lpush(key(list), "another", jobId, "a-third")
  expect(await findJob(current.client, current.name, jobId)).toMatchObject({ state: "live" })
  expect((await current.producer.enqueue(callback(archiveId))).outcome).toBe("duplicate")
})

test.each([
  ["delayed", "live"],
  ["completed", "completed"],
  ["failed", "dead"],
])("a job that is in %s is not orphaned", async (set, state) => {
  const archiveId = randomUUID()
  const jobId = await enqueueOrphan(archiveId)
  await current.client.zadd(key(set), 1, jobId)
  expect(await findJob(current.client, current.name, jobId)).toMatchObject({ state })
  expect((await current.producer.enqueue(callback(archiveId))).outcome).toBe("duplicate")
})
