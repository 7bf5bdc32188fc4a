import { randomUUID } from "node:crypto"
import { Redis } from "ioredis"
import { afterAll, beforeAll, expect, it } from "vitest"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { queueKey } from "../names.ts"
import { findDuplicateOf } from "./duplicate-of.ts"

let redis: RedisServer
let connection: Redis
beforeAll(async () => {
  redis = await startRedis()
  connection = new Redis(redis.url)
})
afterAll(async () => {
  connection.disconnect()
  await redis.close()
})

const ADDED = Date.UTC(2026, 0, 1)
const FINISHED = Date.UTC(2026, 0, 2)

/** A job in the sets that determine its state. */
async function jobIn(
  set: "completed" | "failed" | "prioritized",
  fields: object = {},
  suffix = "",
  queue = randomUUID(),
) {
  const jobId = `123456_${"0".repeat(8)}_x`
  const id = `${jobId}${suffix}`
  await connection.hset(queueKey(queue, id), { data: "{}", timestamp: ADDED, ...fields })
  await connection.zadd(queueKey(queue, set), 1, id)
  return { queue, jobId }
}
const find = ({ queue, jobId }: { queue: string; jobId: string }, deadlineMs = 60_000) =>
  findDuplicateOf(connection, queue, jobId, deadlineMs)

it.each([
  ["completed", { finishedOn: FINISHED }, { state: "committed", since: "2026-01-02T00:00:00.000Z" }],
  ["failed", { finishedOn: FINISHED }, { state: "dead", since: "2026-01-02T00:00:00.000Z" }],
  // An earlier failed attempt has left its time.
  ["prioritized", { finishedOn: FINISHED }, { state: "live", since: "2026-01-01T00:00:00.000Z" }],
  ["completed", { timestamp: "none" }, null],
] as const)("a job that is %s with %j", async (set, fields, expected) => {
  expect(await find(await jobIn(set, fields))).toEqual(expected)
})

it("is the job that it was redriven as, while that one lives", async () => {
  const { queue, jobId } = await jobIn("completed", { finishedOn: FINISHED })
  await jobIn("prioritized", { timestamp: FINISHED }, "_r2", queue)
  expect(await find({ queue, jobId })).toEqual({ state: "live", since: "2026-01-02T00:00:00.000Z" })
})

it("is null if there is no job, or no answer in time", async () => {
  expect(await find({ queue: "none", jobId: "none" })).toBeNull()
  const job = await jobIn("completed", { finishedOn: FINISHED })
  redis.freeze()
  try {
    expect(await find(job, 200)).toBeNull()
  } finally {
    redis.thaw()
  }
})
