/** The janitor on stores whose uploads, answers and troubles the test defines. */
import { randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import type { OpenUpload } from "@unseal/archive/store/contract"
import { jobIdOf } from "@unseal/queue/jobs/job"
import { checkpointKey } from "@unseal/queue/names"
import { readSweep } from "@unseal/queue/sweep-note"
import { expect, test } from "vitest"
import { giveDeadLetters, newPayload, useQueue } from "../../../test/harness/queue.ts"
import { type JanitorEvent, type JanitorOptions, type SweptStore, sweepUploads } from "./janitor.ts"

const current = useQueue("janitor")
const never = new AbortController().signal
const HOUR_MS = 3_600_000
const project = (id: string, destination: string) => ({
  ...{ id, destination, destinationKey: "{projectId}/{archiveId}.ts" },
})

interface Store {
  readonly uploads: OpenUpload[]
  readonly aborted: string[]
  closed: number
}
const upload = (key: string, agoMs = 2 * HOUR_MS): OpenUpload => ({
  ...{ key, token: randomUUID(), startedAt: new Date(Date.now() - agoMs) },
})
const storeOf = (...uploads: OpenUpload[]): Store => ({ uploads, aborted: [], closed: 0 })
const ownKey = (id = "7") => `${id}/${randomUUID()}.ts`

/** Opens `stores` by URL. If `faults` has an entry for a URL, it replaces the listing's end. */
const opened =
  (stores: Record<string, Store>, faults: Record<string, (signal: AbortSignal) => Promise<never>> = {}) =>
  async (url: string): Promise<SweptStore> => ({
    location: url,
    async *openUploads(signal) {
      yield* stores[url]!.uploads
      await faults[url]?.(signal)
    },
    async abortUpload({ key }) {
      stores[url]!.aborted.push(key)
    },
    async close() {
      stores[url]!.closed++
    },
  })

const sweep = (
  openStore: ReturnType<typeof opened>,
  options: Pick<JanitorOptions, "projects"> & Partial<JanitorOptions>,
  signal = never,
): AsyncGenerator<JanitorEvent> =>
  sweepUploads(
    { connection: current.client, queue: current.name, openStore },
    { olderThanMs: HOUR_MS, dryRun: false, ...options },
    signal,
  )

test("reports each orphan and each store, once for all projects that share it", async () => {
  const orphans = [ownKey("7"), ownKey("8"), ownKey("7").replace(/ts$/, "json")]
  const one = storeOf(
    ...orphans.map((key) => upload(key)),
    ...[upload(ownKey("7"), 60_000), upload(ownKey("9")), upload("thumbnail.jpg")],
  )
  const two = storeOf(upload(ownKey("9")))
  const projects = [project("7", "s3://one"), project("8", "s3://one"), project("9", "s3://two")]
  const events = await Array.fromAsync(sweep(opened({ "s3://one": one, "s3://two": two }), { projects }))
  expect(events.map(({ kind }) => kind)).toEqual(["orphan", "orphan", "orphan", "swept", "orphan", "swept"])
  expect(events[0]).toMatchObject({ store: "s3://one", orphan: { key: orphans[0] } })
  expect(events[3]).toMatchObject({
    sweep: {
      ...{ store: "s3://one", open: 6, foreign: 2, young: 1, owned: 0 },
      orphans: orphans.map((key) => ({ key, startedAt: expect.stringMatching(/^20\d\d-.*Z$/) })),
    },
  })
  expect([one.aborted, one.closed, two.aborted.length, two.closed]).toEqual([orphans, 1, 1, 1])
  // For the metrics: what is left.
  expect((await readSweep(current.client, current.name))!.uploads).toEqual({
    ...{ owned: 0, young: 1, orphan: 0, foreign: 2 },
  })
})

test("leaves what a live job or a dead letter has begun, among more than it looks up at once", async () => {
  const live = newPayload("7")
  await current.producer.enqueue(live)
  const [dead] = await giveDeadLetters(current, 1, "7", Date.now(), "ERR_OBJECT_CHANGED: a")
  const archives = [live.archiveId, dead!.split("_")[1]!]
  for (const [index, jobId] of [jobIdOf(live), dead!].entries())
    await current.client.hset(
      checkpointKey(current.name, jobId),
      ...["upload", JSON.stringify({ destinationKey: `7/${archives[index]}.ts` })],
    )
  const uploads = Array.from({ length: 2_300 }, () => upload(ownKey()))
  const store = storeOf(upload(`7/${archives[0]}.ts`), ...uploads, upload(`7/${archives[1]}.ts`))
  const projects = [project("7", "s3://one")]
  const dry = await Array.fromAsync(sweep(opened({ "s3://one": store }), { projects, dryRun: true }))
  expect(dry).toHaveLength(2_301)
  expect((await readSweep(current.client, current.name))!.uploads).toMatchObject({ owned: 2, orphan: 2_300 })
  expect(store.aborted).toEqual([])
  const events = await Array.fromAsync(sweep(opened({ "s3://one": store }), { projects }))
  expect(events.at(-1)).toMatchObject({ kind: "swept", sweep: { open: 2_302, owned: 2 } })
  expect(store.aborted).toEqual(uploads.map(({ key }) => key))
})

test("a store that fails is reported with what was found until then, and the others are swept", async () => {
  const stores = { "s3://one": storeOf(upload("thumbnail.jpg")), "s3://two": storeOf(upload(ownKey())) }
  const error = new UnsealError("ERR_STORE_UNAVAILABLE", "the store answered 503")
  const projects = [project("7", "s3://one"), project("7", "s3://two")]
  const fail = async () => Promise.reject(error)
  const events = await Array.fromAsync(sweep(opened(stores, { "s3://one": fail }), { projects }))
  expect(events).toMatchObject([
    { kind: "failed", error, sweep: { open: 1, foreign: 1, orphans: [] } },
    { kind: "orphan" },
    { kind: "swept" },
  ])
  expect(await readSweep(current.client, current.name)).toBeNull()
  // An error that is not a store's is a fault of the program, and must not be skipped.
  const bug = async () => Promise.reject(new TypeError("no function"))
  await expect(Array.fromAsync(sweep(opened(stores, { "s3://one": bug }), { projects }))).rejects.toThrow(
    "no function",
  )
  expect(stores["s3://one"].closed).toBe(2)
})

test("a store that never answers is left when the signal is aborted, and closed", async () => {
  const stores = { "s3://one": storeOf(upload(ownKey())) }
  const giveUp = new AbortController()
  const hang = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason))
      giveUp.abort(new Error("enough"))
    })
  const projects = [project("7", "s3://one")]
  const run = Array.fromAsync(sweep(opened(stores, { "s3://one": hang }), { projects }, giveUp.signal))
  await expect(run).rejects.toThrow("enough")
  expect(stores["s3://one"]).toMatchObject({ closed: 1, aborted: [] })
})

test("leaving the loop early has aborted what was reported, and no more", async () => {
  const stores = { "s3://one": storeOf(upload(ownKey()), upload(ownKey())) }
  for await (const { kind } of sweep(opened(stores), { projects: [project("7", "s3://one")] })) {
    expect(kind).toBe("orphan")
    break
  }
  expect(stores["s3://one"].aborted).toHaveLength(1)
  expect(stores["s3://one"].closed).toBe(1)
})

test("an invalid age is refused at once", () => {
  for (const olderThanMs of [-1, Number.NaN, Number.POSITIVE_INFINITY])
    expect(() => sweep(opened({}), { projects: [], olderThanMs })).toThrow(
      expect.objectContaining({ code: "ERR_OPTION_INVALID" }),
    )
})
