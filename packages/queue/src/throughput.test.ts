import { expect, test } from "vitest"
import { consume, current, enqueue } from "../../../test/harness/consumer.ts"
import { queueKey } from "./names.ts"
import { readThroughput } from "./throughput.ts"

const read = (minutes: number, now?: number) => readThroughput(current.client, current.name, minutes, now)

test("nothing was committed in a new queue", async () => {
  expect(await read(3)).toEqual([0, 0, 0])
})

test("what was committed belongs to its minute, and moves back as time goes on", async () => {
  const key = queueKey(current.name, "metrics:completed")
  // Minute 100 had 4 until now, 99 had 0, and 98 had 7.
  await current.client.hset(key, { count: 11, prevTS: 100.5 * 60_000, prevCount: 7 })
  await current.client.rpush(`${key}:data`, 0, 7)
  expect(await read(4, 100.9 * 60_000)).toEqual([0, 7, 0, 4])
  expect(await read(4, 102 * 60_000)).toEqual([0, 4, 0, 0])
  expect(await read(2, 300 * 60_000)).toEqual([0, 0])
})

test("a worker's commits are counted", async () => {
  await enqueue()
  await enqueue()
  consume({ run: async () => ({}) })
  await expect
    .poll(async () => (await read(60)).reduce((sum, count) => sum + count, 0), { timeout: 60_000 })
    .toBe(2)
})
