import { randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import { expect, test } from "vitest"
import { consume, current, enqueue } from "../../../../test/harness/consumer.ts"
import { giveDeadLetters, newPayload } from "../../../../test/harness/queue.ts"
import { countCommands } from "../../../../test/harness/redis/commands.ts"
import { heldKey, queueKey, suspensionsKey } from "../names.ts"
import { type ArchivePageQuery, countArchives, pageArchives } from "./archive-pages.ts"
import { jobIdOf } from "./job.ts"
import { pageOfLine } from "./lines.ts"

const SOON = { timeout: 60_000, interval: 50 }
const page = (query: ArchivePageQuery) => pageArchives(current.client, current.name, query)

/** All pages of `query`, and how many there were. */
async function all(query: ArchivePageQuery) {
  const ids: string[] = []
  let pages = 0
  for (let after: string | undefined; ; ) {
    const { jobs, next } = await page({ ...query, after })
    ids.push(...jobs.map(({ jobId }) => jobId))
    pages++
    if (next === null) return { ids, pages }
    after = next
  }
}

/** Adds places that have no job behind them, as many as a test about the line needs. */
async function fill(key: string, places: readonly (readonly [score: number, id: string])[]) {
  for (let at = 0; at < places.length; at += 2_000)
    await current.client.zadd(key, ...places.slice(at, at + 2_000).flat())
}

test("waiting archives are listed in the order of the line, in pages that neither repeat nor leave out", async () => {
  const ids: string[] = []
  for (let made = 0; made < 7; made++) ids.push(await enqueue())
  // As if it had been handed back: ahead of all that have a turn.
  const first = ids.splice(3, 1)[0]!
  await current.client.zrem(queueKey(current.name, "prioritized"), first)
  await current.client.lpush(queueKey(current.name, "wait"), first)
  for (const limit of [1, 2, 3, 7, 8, 100]) {
    const { ids: listed, pages } = await all({ state: "waiting", limit })
    expect(listed).toEqual([first, ...ids])
    expect(pages).toBe(Math.max(1, Math.ceil(7 / limit)))
  }
})

test("a page has each archive's size and callback, and nothing of its password", async () => {
  const payload = newPayload("100001", { size: 12_345_678_901, encryptedPassword: "Y2FuYXJ5IHBhc3N3b3Jk" })
  const jobId = await enqueue(payload)
  const { jobs } = await page({ state: "waiting" })
  const { archiveId, receivedAt } = payload
  expect(jobs).toMatchObject([
    { jobId, archiveId, receivedAt, announcedBytes: 12_345_678_901, status: "uploaded", state: "waiting" },
  ])
  expect(JSON.stringify(jobs)).not.toContain("Y2FuYXJ5")
})

test("a project's archives are found among others', and a page says how many it has looked at", async () => {
  const own = [await enqueue(newPayload("200002")), await enqueue(newPayload("200002"))]
  for (let made = 0; made < 5; made++) await enqueue(newPayload("100001"))
  expect((await all({ state: "waiting", projectId: "200002", limit: 1 })).ids.toSorted()).toEqual(
    own.toSorted(),
  )
  expect((await page({ state: "waiting", projectId: "200002" })).looked).toBe(7)
  // Not a project whose id begins with another's.
  expect((await page({ state: "waiting", projectId: "20000" })).jobs).toEqual([])
})

test("a search for a project ends after 20,000 archives, and goes on from there", async () => {
  const line = queueKey(current.name, "prioritized")
  await fill(
    line,
    Array.from({ length: 20_600 }, (_, index) => [index + 1, `100001_x_${index}`] as const),
  )
  const jobId = await enqueue(newPayload("200002"))
  await current.client.zadd(line, 30_000, jobId)
  const first = await page({ state: "waiting", projectId: "200002" })
  expect(first).toMatchObject({ jobs: [], looked: 20_000, next: expect.any(String) })
  const second = await page({ state: "waiting", projectId: "200002", after: first.next! })
  expect(second.jobs.map((job) => job.jobId)).toEqual([jobId])
  expect(second.next).toBeNull()
})

test("a page costs the same few commands in a line of 10 and of 20,000", async () => {
  const line = queueKey(current.name, "prioritized")
  const costs: number[] = []
  for (const length of [10, 20_000]) {
    await fill(
      line,
      Array.from({ length }, (_, index) => [1_000 + index, `100001_${randomUUID()}_${index}`] as const),
    )
    // The scripts are known from here on.
    await page({ state: "waiting", limit: 5 })
    costs.push(await countCommands(current.client, () => page({ state: "waiting", limit: 5 })))
  }
  expect(costs[1]).toBe(costs[0])
  expect(costs[0]).toBeLessThan(300)
})

test("running archives are listed, the longest running first, with their progress and how long they have run", async () => {
  const ids = [await enqueue(), await enqueue()]
  consume({
    async run(_, { checkpoint, signal }) {
      await checkpoint.begin({
        ...{ token: "t", destinationKey: "k", sourceKey: "s", sourceEtag: "e", sourceSize: 1_000 },
        ...{ partSize: 400, plaintextSize: 1_000 },
      })
      await checkpoint.part(2, { size: 400, tag: "t", crc32: 1, syncErrors: 0 })
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
    },
  })
  await expect
    .poll(async () => (await page({ state: "active" })).jobs.map(({ upload }) => upload?.partsWritten), SOON)
    .toEqual([1, 1])
  expect((await page({ state: "active" })).jobs).toMatchObject(
    ids.map((jobId) => ({
      ...{ jobId, state: "running", upload: { parts: 3, bytes: 1_000, bytesWritten: 400 } },
      runMs: expect.any(Number),
    })),
  )
})

test("archives that a suspension holds are listed as suspended, and not as delayed", async () => {
  const held = [await enqueue(newPayload("100001")), await enqueue(newPayload("100001"))]
  const missing = await enqueue(newPayload("200002"))
  consume({
    suspension: { firstMs: 3_600_000, mostMs: 3_600_000 },
    async run({ projectId }) {
      const [code, side] =
        projectId === "100001"
          ? (["ERR_STORE_DENIED", "destination"] as const)
          : (["ERR_OBJECT_ARCHIVED", "source"] as const)
      throw Object.assign(new UnsealError(code, "as the test wants it"), { side })
    },
  })
  await expect
    .poll(() => countArchives(current.client, current.name), SOON)
    .toMatchObject({ suspended: 2, delayed: 1, waiting: 0, active: 0 })
  expect((await all({ state: "delayed", limit: 1 })).ids).toEqual([missing])
  for (const limit of [1, 2, 50])
    expect((await all({ state: "suspended", limit })).ids.toSorted()).toEqual(held.toSorted())
  const { jobs } = await page({ state: "suspended", projectId: "100001" })
  expect(jobs[0]).toMatchObject({
    state: "held",
    suspension: { side: "destination", code: "ERR_STORE_DENIED" },
  })
  expect((await page({ state: "suspended", projectId: "200002" })).jobs).toEqual([])
  // The cursor of a suspension that has ended leads to the next one.
  await current.client.hset(suspensionsKey(current.name), "000000:keys", JSON.stringify({ ending: true }))
  expect((await page({ state: "suspended", after: "000000:gone" })).jobs).toHaveLength(2)
  expect((await page({ state: "suspended", after: "999999:source~1~x" })).jobs).toEqual([])
})

test("dead letters are listed from the newest on, by code and project, and committed archives with their result", async () => {
  const { client, name } = current
  const older = await giveDeadLetters({ client, name }, 120, "100001", 1_000_000, "ERR_NO_MATCHING_KEY: none")
  const newer = await giveDeadLetters({ client, name }, 3, "200002", 2_000_000, "ERR_NOT_MPEG_TS: no")
  expect((await all({ state: "dead", limit: 50 })).ids).toEqual([...newer, ...older])
  expect((await all({ state: "dead", code: "ERR_NOT_MPEG_TS", limit: 2 })).ids).toEqual(newer)
  expect((await all({ state: "dead", code: "ERR_NO_MATCHING_KEY", projectId: "200002" })).ids).toEqual([])
  const done = await enqueue()
  consume({ run: async () => ({ outcome: "committed", size: 7 }) })
  await expect
    .poll(async () => (await page({ state: "committed" })).jobs, SOON)
    .toMatchObject([
      {
        jobId: done,
        state: "completed",
        result: { outcome: "committed", size: 7 },
        runMs: expect.any(Number),
      },
    ])
})

test("counts are given for each state", async () => {
  expect(await countArchives(current.client, current.name)).toEqual({
    ...{ waiting: 0, active: 0, delayed: 0, suspended: 0, dead: 0, committed: 0 },
  })
})

test("an invalid cursor begins anew, and a limit out of range is refused", async () => {
  const jobId = await enqueue()
  for (const after of ["", "~", "nonsense", "prioritized~x~y", "prioritized~1~", "wait~~"])
    expect((await page({ state: "waiting", after })).jobs.map((job) => job.jobId)).toEqual([jobId])
  for (const limit of [0, 101, 1.5])
    await expect(page({ state: "waiting", limit })).rejects.toThrow(RangeError)
})

test.each(["first-to-last", "last-to-first"] as const)(
  "a line is continued after a place that is gone, among equal scores as well: %s",
  async (direction) => {
    const key = heldKey(current.name, "line")
    const ids = Array.from({ length: 50 }, (_, index) => `id-${String(index).padStart(2, "0")}`)
    const places = ids.map((id, index) => [index < 10 ? 1 : index < 40 ? 2 : 3, id] as const)
    const expected = direction === "first-to-last" ? ids : ids.toReversed()
    for (const gone of [0, 9, 10, 25, 39, 40, 49]) {
      await current.client.del(key)
      await fill(key, places)
      const id = expected[gone]!
      const [score] = places.find(([, one]) => one === id)!
      await current.client.zrem(key, id)
      const rest = await pageOfLine(current.client, key, { id, at: score }, 100, direction)
      expect(rest.map((place) => place.id)).toEqual(expected.slice(gone + 1))
    }
  },
)

test("a list is continued after a job that is gone", async () => {
  const key = queueKey(current.name, "active")
  await current.client.lpush(key, "a", "b", "c", "d")
  const [, second] = await pageOfLine(current.client, key, undefined, 2)
  expect(second).toEqual({ id: "b", at: 1 })
  await current.client.lrem(key, 0, "b")
  expect((await pageOfLine(current.client, key, second, 5)).map(({ id }) => id)).toEqual(["c", "d"])
  expect(await pageOfLine(current.client, key, { id: "gone", at: 9 }, 5)).toEqual([])
})

test("an id that is in a line without its job is left out", async () => {
  const payload = newPayload()
  await current.client.zadd(queueKey(current.name, "prioritized"), 1, jobIdOf(payload))
  expect((await page({ state: "waiting" })).jobs).toEqual([])
})
