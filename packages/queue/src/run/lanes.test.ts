/** How a consumer shares its slots between the lanes. */
import { expect, test } from "vitest"
import { consume, current, enqueue, until } from "../../../../test/harness/consumer.ts"
import { newPayload } from "../../../../test/harness/queue.ts"
import { laneOf } from "../jobs/lane.ts"
import type { JobContext } from "./consumer.ts"

const result = { outcome: "committed" } as const
const POLL = { timeout: 30_000, interval: 20 }
const bulk = () => enqueue(newPayload("100001", { lane: "bulk" }))

/** Runs that end on request. */
function createRuns() {
  const running = new Map<string, () => void>()
  const begun: string[] = []
  return {
    running,
    begun,
    async run(_: unknown, { jobId, signal }: JobContext) {
      begun.push(jobId)
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      running.set(jobId, resolve)
      signal.addEventListener("abort", () => reject(signal.reason), { once: true })
      await promise.finally(() => running.delete(jobId))
      return result
    },
    end: (jobId: string) => running.get(jobId)!(),
  }
}

test("a live job finds a slot, however many bulk jobs wait, and bulk jobs never hold the last one", async () => {
  const runs = createRuns()
  const waiting: string[] = []
  for (let count = 0; count < 8; count++) waiting.push(await bulk())
  const consumer = consume({ concurrency: 4, run: runs.run })
  await expect.poll(() => runs.begun, POLL).toEqual(waiting.slice(0, 3))

  const first = await enqueue()
  await expect.poll(() => runs.begun.at(-1), POLL).toBe(first)
  expect(consumer).toMatchObject({ active: 4, activeBulk: 3 })
  // It waits for a slot, and takes the first one that is free.
  const second = await enqueue()
  runs.end(waiting[0]!)
  await expect.poll(() => runs.begun.at(-1), POLL).toBe(second)
  runs.end(first)
  await expect.poll(() => runs.begun.at(-1), POLL).toBe(waiting[3])
  runs.end(second)
  await until("completed", second)
  expect(runs.begun).toHaveLength(6)
  expect(consumer).toMatchObject({ active: 3, activeBulk: 3 })

  for (const id of waiting.slice(1)) {
    await expect.poll(() => runs.running.has(id), POLL).toBe(true)
    runs.end(id)
  }
  await expect.poll(() => consumer.active, POLL).toBe(0)
  expect(consumer.activeBulk).toBe(0)
})

test("a worker with one slot runs the live job next", async () => {
  const runs = createRuns()
  const [first, last] = [await bulk(), await bulk()]
  const consumer = consume({ concurrency: 1, run: runs.run })
  await expect.poll(() => runs.begun, POLL).toEqual([first])
  const live = await enqueue()
  runs.end(first)
  await expect.poll(() => runs.begun, POLL).toEqual([first, live])
  runs.end(live)
  await expect.poll(() => runs.begun, POLL).toEqual([first, live, last])
  runs.end(last)
  await expect.poll(() => consumer.active, POLL).toBe(0)
})

test("live jobs that arrive one by one wake all workers whose bulk slots are full", async () => {
  const runs = createRuns()
  for (let count = 0; count < 6; count++) await bulk()
  const consumers = Array.from({ length: 3 }, () => consume({ concurrency: 2, run: runs.run }))
  await expect.poll(() => runs.begun.length, POLL).toBe(3)
  const live = [await enqueue(), await enqueue(), await enqueue()]
  await expect.poll(() => new Set(runs.begun.slice(3)), POLL).toEqual(new Set(live))
  expect(consumers.map(({ active, activeBulk }) => [active, activeBulk])).toEqual(Array(3).fill([2, 1]))
  for (let ended = 0; ended < 9; ended++) {
    await expect.poll(() => runs.running.size, POLL).toBeGreaterThan(0)
    runs.running.values().next().value!()
  }
  await expect.poll(() => consumers.map(({ active }) => active), POLL).toEqual([0, 0, 0])
})

test("with jobs of both lanes that come and go, no worker ever runs more bulk jobs than it may", async () => {
  let done = 0
  const crowd = () => {
    const now = { bulk: 0, most: 0 }
    consume({
      concurrency: 4,
      async run(payload) {
        const isBulk = laneOf(payload) === "bulk"
        if (isBulk) now.most = Math.max(now.most, ++now.bulk)
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 5))
        if (isBulk) now.bulk--
        done++
        return result
      },
    })
    return now
  }
  const crowds = [crowd(), crowd()]
  const jobs = Array.from({ length: 240 }, (_, index) => (index % 3 === 0 ? enqueue() : bulk()))
  await Promise.all(jobs)
  await expect.poll(() => done, { timeout: 60_000 }).toBe(jobs.length)
  for (const { most } of crowds) expect(most).toBeLessThanOrEqual(3)
  expect(Math.max(...crowds.map(({ most }) => most))).toBe(3)
  expect(await current.client.zcard(`{${current.name}}:${current.name}:completed`)).toBe(jobs.length)
})
