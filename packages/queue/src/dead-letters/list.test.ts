import { expect, test } from "vitest"
import { giveDeadLetters, useQueue } from "../../../../test/harness/queue.ts"
import { queueKey } from "../names.ts"
import { type DeadLetter, type DeadLetterFilter, type DeadLetterPage, listDeadLetters } from "./list.ts"

const current = useQueue("list")
const NIGHT = Date.parse("2026-03-01T02:00:00Z")

const list = (query?: DeadLetterFilter & DeadLetterPage) =>
  listDeadLetters(current.client, current.name, query)
const idsOf = (letters: readonly DeadLetter[]) => letters.map(({ jobId }) => jobId)

const give = (count: number, projectId: string, failedAt: number, reason: string) =>
  giveDeadLetters(current, count, projectId, failedAt, reason)

/** Every page of `query`, each begun after the last entry of the previous page. */
async function pages(query: DeadLetterFilter, limit: number): Promise<DeadLetter[][]> {
  const read: DeadLetter[][] = []
  for (let after: DeadLetter | undefined; ; ) {
    const page = await list({ ...query, limit, ...(after && { after }) })
    if (page.length === 0) return read
    read.push(page)
    after = page.at(-1)
  }
}

test("a filter finds few among many, and fills its page", async () => {
  const own = await give(3, "7", NIGHT, "ERR_NO_MATCHING_KEY: no key fits")
  await give(1_300, "100001", NIGHT + 1, "ERR_OBJECT_CHANGED: another version is there")
  const stalled = await give(2, "100001", NIGHT - 1, "job stalled more than allowable limit")
  const archiveId = own[1]!.split("_")[1]!

  expect(idsOf(await list({ projectId: "7" }))).toEqual(own)
  expect(idsOf(await list({ code: "ERR_NO_MATCHING_KEY", limit: 2 }))).toEqual(own.slice(0, 2))
  expect(idsOf(await list({ code: "ERR_STALLED" }))).toEqual(stalled)
  expect(idsOf(await list({ ids: [archiveId, stalled[0]!] }))).toEqual([own[1], stalled[0]])
  expect(await list({ ids: [] })).toEqual([])
  expect(await list({ projectId: "7", code: "ERR_STALLED" })).toEqual([])
  expect(await list({ projectId: "7", ids: [stalled[0]!] })).toEqual([])
})

test("a job's age counts from when it was given up, to the millisecond", async () => {
  const [before] = await give(1, "7", NIGHT - 1, "ERR_OBJECT_CHANGED: a")
  const [at] = await give(1, "7", NIGHT, "ERR_OBJECT_CHANGED: a")
  const failedBefore = new Date(NIGHT)
  expect(idsOf(await list({ failedBefore }))).toEqual([before])
  expect(idsOf(await list({ failedBefore: new Date(NIGHT + 1) }))).toEqual([at, before])
  // A page that begins before or after that moment.
  const [after] = await list({ limit: 1 })
  expect(idsOf(await list({ failedBefore, after: after! }))).toEqual([before])
  expect(
    await list({ failedBefore, after: { jobId: before!, failedAt: failedBefore.toISOString() } }),
  ).toEqual(await list({ failedBefore }))
})

test("pages contain each entry once, even if more were given up at one moment than are read at once", async () => {
  const newer = await give(2, "7", NIGHT + 1, "ERR_OBJECT_CHANGED: a")
  const together = await give(1_205, "7", NIGHT, "ERR_OBJECT_CHANGED: a")
  const older = await give(1, "8", NIGHT - 1, "ERR_OBJECT_CHANGED: a")
  const read = await pages({}, 400)
  expect(read.map((page) => page.length)).toEqual([400, 400, 400, 8])
  expect(idsOf(read.flat())).toEqual([...newer, ...together, ...older])
  expect(idsOf((await pages({ projectId: "8" }, 1)).flat())).toEqual(older)
})

test("a page begins where the last one ended, even if that entry and others are gone by then", async () => {
  const ids = await give(6, "7", NIGHT, "ERR_OBJECT_CHANGED: a")
  const first = await list({ limit: 3 })
  await current.client.zrem(queueKey(current.name, "failed"), ...ids.slice(0, 4))
  // This one was given up meanwhile, so it is newer than all of them.
  await give(1, "7", NIGHT + 1, "ERR_OBJECT_CHANGED: a")
  expect(idsOf(await list({ after: first.at(-1)!, limit: 3 }))).toEqual(ids.slice(4))
})

test("a damaged one keeps its place and its time, and is found by what it has lost", async () => {
  const [torn, gone, alien] = await give(3, "7", NIGHT, "ERR_OBJECT_CHANGED: a")
  const key = (id: string) => queueKey(current.name, id)
  await current.client.hdel(key(torn!), "data", "failedReason", "timestamp", "finishedOn")
  await current.client.del(key(gone!), key(alien!))
  await current.client.set(key(alien!), "no hash")
  const time = new Date(NIGHT).toISOString()
  for (const query of [{}, { code: "ERR_JOB_INVALID" as const }, { projectId: "7" }])
    expect(await list(query)).toEqual(
      [torn, gone, alien].map((jobId) => ({
        ...{ jobId, projectId: "7", archiveId: jobId!.split("_")[1], lane: "live" },
        ...{ code: "ERR_JOB_INVALID", reason: "ERR_JOB_INVALID: the reason is lost (damaged in redis)" },
        ...{ attempts: jobId === torn ? 3 : 0, addedAt: time, failedAt: time, damaged: true },
      })),
    )
})

test("a Redis that goes away is an error, not a list of damaged entries", async () => {
  await give(2, "7", NIGHT, "ERR_OBJECT_CHANGED: a")
  const { client, name } = current
  const dying = client.duplicate({ enableOfflineQueue: false, retryStrategy: () => null })
  dying.on("error", () => {})
  await new Promise((resolve) => dying.once("ready", resolve))
  const pipeline = dying.pipeline.bind(dying)
  dying.pipeline = ((...given: Parameters<typeof pipeline>) => {
    dying.disconnect()
    return pipeline(...given)
  }) as typeof pipeline
  await expect(listDeadLetters(dying, name)).rejects.toThrow()
})
