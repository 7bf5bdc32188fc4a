import { expect, test } from "vitest"
import { current, enqueue } from "../../../../test/harness/consumer.ts"
import { giveDeadLetters } from "../../../../test/harness/queue.ts"
import { queueKey } from "../names.ts"
import { countStructures, readQueuedJobs, readStructure, STRUCTURES, type Structure } from "./structures.ts"

const page = async (name: Structure, first: number, last: number) =>
  (await readStructure(current.client, current.name, name, first, last)).map(({ job }) => job.jobId)

/** Takes a waiting job out of its line. */
const taken = async () => {
  const jobId = await enqueue()
  await current.client.zrem(queueKey(current.name, "prioritized"), jobId)
  return jobId
}

test("each structure is counted, and is read by rank in its own order", async () => {
  const expected: Partial<Record<Structure, string[]>> = {}
  for (const list of ["active", "wait", "paused"] as const) {
    expected[list] = [await taken(), await taken(), await taken()]
    for (const id of expected[list]) await current.client.lpush(queueKey(current.name, list), id)
  }
  expected.prioritized = [await enqueue(), await enqueue(), await enqueue()]
  for (const [set, scores] of [
    ["delayed", [1, 2, 3]],
    ["completed", [3, 2, 1]],
  ] as const) {
    expected[set] = [await taken(), await taken(), await taken()]
    for (const [index, id] of expected[set].entries())
      await current.client.zadd(queueKey(current.name, set), scores[index]!, id)
  }
  expected.failed = await giveDeadLetters(current, 3, "200002", 1_700_000_000_000, "ERR_NOT_MPEG_TS: no")
  for (const name of STRUCTURES) {
    const ids = expected[name]!
    expect(await page(name, 0, 9), name).toEqual(ids)
    expect([await page(name, 0, 0), await page(name, 1, 2), await page(name, 3, 5)], name).toEqual([
      ids.slice(0, 1),
      ids.slice(1),
      [],
    ])
  }
  expect(await countStructures(current.client, current.name)).toEqual(
    Object.fromEntries(STRUCTURES.map((name) => [name, 3])),
  )
})

test("a job has BullMQ's numbers, and a job that has disappeared is left out", async () => {
  const jobId = await enqueue()
  await current.client.hset(queueKey(current.name, jobId), { ats: "3", delay: "250" })
  const jobs = await readQueuedJobs(current.client, current.name, ["gone", jobId])
  expect(jobs).toMatchObject([{ job: { jobId }, starts: 3, delayMs: 250 }])
  expect(jobs[0]!.priority).toBeGreaterThan(0)
})
