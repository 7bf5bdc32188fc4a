import { afterEach, beforeEach, expect, test } from "vitest"
import { newPayload, useQueue } from "../../../../test/harness/queue.ts"
import { queueKey, queuePrefix } from "../names.ts"
import { duplicatePatiently, type RedisClient } from "../redis/client.ts"
import { PacedWorker } from "./paced-worker.ts"

const current = useQueue("take-live")
let connection: RedisClient
let worker: PacedWorker
let tokens = 0

const key = (type: string) => queueKey(current.name, type)
const open = (concurrency: number) =>
  new PacedWorker(current.name, async () => {}, {
    ...{ connection, prefix: queuePrefix(current.name), skipVersionCheck: true, autorun: false, concurrency },
  })

/** The id of the next job that the worker takes, or `undefined`. */
const take = async () => (await worker.getNextJob(`token-${tokens++}`, { block: false }))?.id
const enqueue = async (lane?: "bulk") =>
  (await current.producer.enqueue(newPayload("100001", lane && { lane }))).jobId
/** Puts a job that is in line at the head of all, as one that is handed back is. */
async function toHead(id: string): Promise<void> {
  await current.client.zrem(key("prioritized"), id)
  await current.client.rpush(key("wait"), id)
}
async function delayUntil(id: string, dueMs: number): Promise<void> {
  await current.client.zrem(key("prioritized"), id)
  await current.client.zadd(key("delayed"), dueMs * 4096, id)
}

beforeEach(() => {
  connection = duplicatePatiently(current.client)
  // One slot for bulk, which the first bulk job takes.
  worker = open(2)
  worker.on("error", () => {})
})
afterEach(async () => {
  await worker.close()
  connection.disconnect()
})

async function fill(): Promise<void> {
  const first = await enqueue("bulk")
  expect(await take()).toBe(first)
  expect(worker.bulkSlots).toMatchObject({ used: 1, areFull: true })
}

test("a worker whose bulk slots are full takes only live jobs, and wakes others for bulk jobs", async () => {
  await fill()
  const live = await enqueue()
  const bulk = await enqueue("bulk")
  expect(await take()).toBe(live)
  await current.client.del(key("marker"))
  expect(await take()).toBe(undefined)
  expect(await current.client.zrange(key("prioritized"), 0, "-1")).toEqual([bulk])
  expect(await current.client.zrange(key("marker"), 0, "-1")).toEqual(["0"])
})

test("a live job that was taken wakes the next worker that waits for live jobs; without a live job, none is woken", async () => {
  await fill()
  await enqueue()
  await current.client.del(key("marker:live"))
  await take()
  expect(await current.client.zrange(key("marker:live"), 0, "-1")).toEqual(["0"])
  await current.client.del(key("marker:live"), key("marker"))
  expect(await take()).toBe(undefined)
  expect(await current.client.exists(key("marker:live"), key("marker"))).toBe(0)
})

test("bulk jobs at the head of all are passed by, and stay there in their order", async () => {
  await fill()
  const [live, first, second] = [await enqueue(), await enqueue("bulk"), await enqueue("bulk")]
  await toHead(live)
  await toHead(second)
  await toHead(first)
  expect(await take()).toBe(live)
  expect(await current.client.lrange(key("wait"), 0, -1)).toEqual([second, first])

  const inLine = await enqueue()
  expect(await take()).toBe(inLine)
  expect(await current.client.lrange(key("wait"), 0, -1)).toEqual([second, first])
  expect(await take()).toBe(undefined)
  expect(await current.client.lrange(key("wait"), 0, -1)).toEqual([second, first])
})

test("a live job that becomes due is taken, although bulk jobs are at the head of all", async () => {
  await fill()
  const [live, bulk] = [await enqueue(), await enqueue("bulk")]
  await toHead(bulk)
  await delayUntil(live, Date.now() + 3_600_000)
  expect(await take()).toBe(undefined)
  await delayUntil(live, Date.now() - 1)
  expect(await take()).toBe(live)
  expect(await current.client.lrange(key("wait"), 0, -1)).toEqual([bulk])
})

test("a bulk job that becomes due is left to others", async () => {
  await fill()
  const bulk = await enqueue("bulk")
  await delayUntil(bulk, Date.now() - 1)
  expect(await take()).toBe(undefined)
  expect(await current.client.zscore(key("delayed"), bulk)).not.toBe(null)
})

test("a paused queue does not give out live jobs either", async () => {
  await fill()
  await enqueue()
  await current.client.hset(key("meta"), "paused", 1)
  expect(await take()).toBe(undefined)
})

test("a job whose fields make BullMQ's script fail costs no other job its place", async () => {
  await fill()
  const [live, bulk] = [await enqueue(), await enqueue("bulk")]
  await toHead(live)
  await toHead(bulk)
  await current.client.hset(key(live), "ats", "many")
  await expect(take()).rejects.toThrow("not an integer")
  expect(await current.client.lrange(key("wait"), 0, -1)).toEqual([bulk])
})

test("a bulk slot is free again when its job has ended, and takes the next bulk job", async () => {
  const [first, second, third] = [await enqueue("bulk"), await enqueue("bulk"), await enqueue("bulk")]
  const job = await worker.getNextJob("one", { block: false })
  expect(job?.id).toBe(first)
  const next = await worker.processJob(job!, "one")
  expect((next as { id?: string } | undefined)?.id).toBe(second)
  expect(worker.bulkSlots.used).toBe(1)
  expect(await take()).toBe(undefined)
  await worker.processJob(next as never, "one", () => false)
  expect(worker.bulkSlots).toMatchObject({ used: 0, areFull: false })
  expect(await take()).toBe(third)
})

test("a worker with one slot takes whatever is next", async () => {
  const single = open(1)
  try {
    const bulk = await enqueue("bulk")
    expect((await single.getNextJob("one", { block: false }))?.id).toBe(bulk)
  } finally {
    await single.close()
  }
})

test("while it waits for a live job, it takes its own marker, and leaves BullMQ's marker to workers with a bulk slot", async () => {
  await fill()
  // There is nothing for it, so it waits.
  expect(await take()).toBe(undefined)
  for (const marker of ["marker", "marker:live"]) await current.client.zadd(key(marker), 0, "0")
  const waiting = worker.getNextJob("waiting")
  await expect.poll(() => current.client.exists(key("marker:live")), { timeout: 30_000 }).toBe(0)
  await waiting
  expect(await current.client.zrange(key("marker"), 0, "-1")).toEqual(["0"])
  const live = await enqueue()
  expect((await worker.getNextJob("again"))?.id).toBe(live)
})
