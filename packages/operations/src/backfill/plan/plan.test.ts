/** Plans of manifests, with a real queue and with simulated stores that are slow, refuse, or never answer. */
import { randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import type { ArchiveRecord } from "@unseal/archive/record/record"
import type { Archival, OpenedStore } from "@unseal/archive/store/contract"
import { openDeadLetters } from "@unseal/queue/dead-letters/dead-letters"
import { createJobPayload } from "@unseal/queue/jobs/job"
import { expect, test } from "vitest"
import { giveDeadLetters, useQueue } from "../../../../../test/harness/queue.ts"
import type { SubmittedArchive } from "../../submission/fields.ts"
import { countsOf, totalOf } from "./counts.ts"
import { type PlanDependencies, type PlannedLine, planBackfill } from "./plan.ts"

const current = useQueue("plan")
const never = new AbortController().signal
const MB = 1_000_000
const PASSWORD = "d3JhcHBlZC1jYW5hcnk="

const archive = (projectId: string, fields: Partial<SubmittedArchive> = {}): SubmittedArchive => ({
  ...{ projectId, archiveId: randomUUID(), encryptedPassword: PASSWORD, status: "uploaded", ...fields },
})
const recordOf = ({ projectId, archiveId }: SubmittedArchive): ArchiveRecord => ({
  version: 1,
  ...{ archiveId, projectId, crc32: "00000000", attempts: 1, unsealVersion: "0.1.0" },
  source: { key: "a.ts", size: MB, etag: "s" },
  destination: { key: `${projectId}/${archiveId}.ts`, size: MB, etag: "d" },
  tail: { form: "unpadded", padding: 0 },
  media: { packets: 1, syncErrors: 0 },
  ...{ startedAt: "2026-01-01T00:00:00.000Z", finishedAt: "2026-01-01T00:00:01.000Z" },
})

/** Objects by URL of the store and key. A function in it is called for each look at the store. */
function world(projects: readonly string[]) {
  const sources = new Map<string, { readonly size: number; readonly archival?: Archival }>()
  const records = new Map<string, ArchiveRecord>()
  const closed: string[] = []
  const it = {
    sources,
    records,
    closed,
    blind: null as string | null,
    looked: async (_url: string): Promise<void> => {},
    has(one: SubmittedArchive, size: number, archival?: Archival, name = "archive.ts") {
      const object = { size, ...(archival && { archival }) }
      sources.set(`s3://in-${one.projectId}/${one.projectId}/${one.archiveId}/${name}`, object)
      return one
    },
    done(one: SubmittedArchive) {
      records.set(`s3://out-${one.projectId}/${one.projectId}/${one.archiveId}.json`, recordOf(one))
      return one
    },
    seen: [] as number[],
    plan(lines: Iterable<PlannedLine> | AsyncIterable<PlannedLine>, signal = never, pausesMs = [1, 1]) {
      async function* given() {
        yield* lines
      }
      const onProgress = (count: number) => void it.seen.push(count)
      return planBackfill(dependencies, given(), { pausesMs, onProgress }, signal)
    },
  }
  const openStore = async (url: string): Promise<OpenedStore> =>
    ({
      async stat(key: string) {
        await it.looked(url)
        const found = sources.get(`${url}/${key}`)
        return found === undefined ? null : { key, etag: "s", metadata: {}, ...found }
      },
      async open(key: string) {
        await it.looked(url)
        const found = records.get(`${url}/${key}`)
        if (found === undefined) return null
        async function* head() {
          yield Buffer.from(JSON.stringify(found))
        }
        return { object: { key, size: 500, etag: "r", metadata: {} }, head: head(), close() {} }
      },
      missingPermission: () => it.blind,
      close: async () => void closed.push(url),
    }) as unknown as OpenedStore
  const dependencies: PlanDependencies = {
    ...{ connection: current.client, queue: current.name, openStore },
    projectOf: (id) =>
      projects.includes(id)
        ? {
            ...{ id, source: `s3://in-${id}`, destination: `s3://out-${id}` },
            sourceKeys: ["{projectId}/{archiveId}/archive.ts", "{projectId}/{archiveId}/archive.mp4"],
            destinationKey: "{projectId}/{archiveId}.ts",
          }
        : undefined,
    hasVendor: (id) => id === "1",
  }
  return it
}
const linesOf = (archives: readonly SubmittedArchive[]): PlannedLine[] =>
  archives.map((payload, index) => ({ line: index + 1, payload }))

test("every line is counted once, according to what a backfill would do with it", async () => {
  const it = world(["1", "2"])
  const live = archive("1")
  await current.producer.enqueue(
    createJobPayload({ ...live, receivedAt: new Date().toISOString(), nonce: randomUUID() }),
  )
  const [deadId, discardedId] = await giveDeadLetters(current, 2, "1", Date.now(), "ERR_OBJECT_CHANGED: a")
  const [dead, discarded] = [deadId, discardedId].map((id) => archive("1", { archiveId: id!.split("_")[1]! }))
  const letters = openDeadLetters({ connection: current.client, queue: current.name })
  await letters.discard(discardedId!)
  await letters.close()
  const glacier = { storageClass: "GLACIER", isRestoring: false }
  const archives = [
    it.done(archive("1")),
    live,
    it.has(dead!, 5),
    it.has(discarded!, 3 * MB),
    it.has(archive("1"), 20 * MB, undefined, "archive.mp4"),
    it.has(archive("1"), 7 * MB, glacier),
    it.has(archive("1"), 9 * MB, { ...glacier, isRestoring: true }),
    it.has(archive("1"), 4 * MB, { storageClass: "DEEP_ARCHIVE", isRestoring: false }),
    archive("1"),
    archive("1", { status: "available", size: 12 * MB }),
    archive("2", { status: "available" }),
    it.has(archive("2"), MB),
    archive("3"),
    archive("3"),
  ]
  it.sources.set("s3://in-2/old/elsewhere", { size: 2 * MB })
  archives.push(archive("2", { sourceKey: "old/elsewhere" }))
  const lines: PlannedLine[] = [
    ...linesOf(archives),
    { line: 16, malformed: "it is not JSON" },
    { line: 17, ignored: "no-callback" },
    { line: 18, ignored: "not-encrypted" },
    { line: 19, ignored: "no-callback" },
  ]
  const counts = await it.plan(lines)
  expect(counts).toEqual({
    archives: 15,
    malformed: 1,
    malformedLines: [{ line: 16, reason: "it is not JSON" }],
    ignored: { "no-callback": 2, "not-encrypted": 1 },
    projects: {
      "1": {
        ...{ done: 1, live: 1, dead: 1, discarded: 1, missing: 1, unknown: 0 },
        // One has one part, and one has three.
        fresh: { archives: 2, bytes: 23 * MB, reads: 2 + 6, writes: 2 + 6 },
        vendor: { archives: 1, bytes: 12 * MB, reads: 5, writes: 5 },
        archived: {
          GLACIER: { archives: 2, bytes: 16 * MB, restoring: 1 },
          DEEP_ARCHIVE: { archives: 1, bytes: 4 * MB, restoring: 0 },
        },
        restored: { archives: 3, bytes: 20 * MB, reads: 2 + 2 + 5, writes: 2 + 2 + 5 },
      },
      "2": {
        ...{ done: 0, live: 0, dead: 0, discarded: 0, missing: 1, unknown: 0 },
        fresh: { archives: 2, bytes: 3 * MB, reads: 4, writes: 4 },
        vendor: { archives: 0, bytes: 0, reads: 0, writes: 0 },
        ...{ archived: {}, restored: { archives: 0, bytes: 0, reads: 0, writes: 0 } },
      },
    },
    ...{ unconfigured: { "3": 2 }, troubles: [], unseen: {} },
  })
  expect(it.closed.toSorted()).toEqual(["s3://in-1", "s3://in-2", "s3://out-1", "s3://out-2"])
  // Nothing was enqueued.
  expect(totalOf(await it.plan(linesOf(archives)))).toMatchObject({ live: 1, done: 1 })
})

test.for([
  ["is denied", "ERR_STORE_DENIED", 1],
  ["can't be reached", "ERR_STORE_UNAVAILABLE", 3],
] as const)(
  "a project whose store %s is a named trouble, and the other projects are planned",
  async ([, code, looks], { expect }) => {
    const it = world(["1", "2"])
    const bad = Array.from({ length: 300 }, () => archive("1"))
    const good = Array.from({ length: 300 }, () => it.has(archive("2"), MB))
    let asked = 0
    it.looked = async (url) => {
      if (!url.endsWith("-1")) return
      asked++
      throw new UnsealError(code, "the store's trouble")
    }
    const counts = await it.plan(linesOf(bad.flatMap((one, index) => [one, good[index]!])))
    expect(countsOf(counts, "2").fresh.archives).toBe(300)
    expect(countsOf(counts, "1")).toMatchObject({ unknown: 300, missing: 0, done: 0 })
    expect(counts.troubles).toEqual([{ projectId: "1", code, reason: "the store's trouble" }])
    // At most the archives that are looked at simultaneously.
    expect(asked).toBeLessThanOrEqual(64 * looks)
  },
)

test("a store that fails for a moment is looked at again", async () => {
  const it = world(["1"])
  const archives = Array.from({ length: 200 }, () => it.has(archive("1"), MB))
  let failures = 20
  it.looked = async () => {
    if (failures-- > 0) throw new UnsealError("ERR_STORE_UNAVAILABLE", "503")
  }
  const counts = await it.plan(
    linesOf(archives),
    never,
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
  )
  expect(counts.troubles).toEqual([])
  expect(totalOf(counts).fresh).toEqual({ archives: 200, bytes: 200 * MB, reads: 400, writes: 400 })
})

test("a store that does not answer is not waited for a second time", async () => {
  const it = world(["1"])
  let asked = 0
  it.looked = async () => {
    asked++
    throw new UnsealError("ERR_STORE_UNAVAILABLE", "nothing moved", { silent: true })
  }
  const counts = await it.plan(linesOf([archive("1"), archive("1")]))
  expect(countsOf(counts, "1").unknown).toBe(2)
  expect(asked).toBe(2)
})

test("a missing permission that hides objects is named", async () => {
  const it = world(["1"])
  it.blind = "s3:ListBucket"
  const counts = await it.plan(linesOf([archive("1")]))
  expect(counts).toMatchObject({ unseen: { "1": "s3:ListBucket" }, projects: { "1": { missing: 1 } } })
})

test("a manifest that can't be read to its end is an error, and so is an abort: the stores are closed", async () => {
  const it = world(["1"])
  async function* broken(): AsyncGenerator<PlannedLine> {
    for (let line = 1; line <= 100; line++) yield { line, payload: it.has(archive("1"), MB) }
    throw new Error("line 101 is garbled")
  }
  await expect(it.plan(broken())).rejects.toThrow("line 101 is garbled")
  expect(it.closed.toSorted()).toEqual(["s3://in-1", "s3://out-1"])

  const stopping = new AbortController()
  const reason = new Error("stop")
  async function* endless(): AsyncGenerator<PlannedLine> {
    for (let line = 1; ; line++) {
      if (line === 300) stopping.abort(reason)
      yield { line, payload: archive("1") }
    }
  }
  await expect(it.plan(endless(), stopping.signal)).rejects.toBe(reason)
})

test("it takes no more lines than it can look at", async () => {
  const it = world(["1"])
  let [taken, most, answered] = [0, 0, 0]
  it.looked = async () => {
    await new Promise((resolve) => setImmediate(resolve))
    answered++
  }
  async function* counting(): AsyncGenerator<PlannedLine> {
    for (let line = 1; line <= 1_000; line++) {
      taken++
      // For each missing archive, it looks for a record and under two keys.
      most = Math.max(most, taken - answered / 3)
      yield { line, payload: archive("1") }
    }
  }
  expect(totalOf(await it.plan(counting())).missing).toBe(1_000)
  expect(most).toBeLessThanOrEqual(65)
  expect(it.seen.at(-1)).toBe(1_000)
  expect(it.seen.toSorted((a, b) => a - b)).toEqual(it.seen)
})
