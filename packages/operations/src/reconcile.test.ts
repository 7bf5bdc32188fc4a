/** Compares the vendor's recordings with the destinations and a real queue. The test defines the vendor and the stores. */
import { randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import { openDeadLetters } from "@unseal/queue/dead-letters/dead-letters"
import { findJob } from "@unseal/queue/jobs/find-job"
import { createJobPayload, jobIdOf } from "@unseal/queue/jobs/job"
import { discardedKey, queueKey } from "@unseal/queue/names"
import { queueStatus } from "@unseal/queue/status"
import type { VendorArchive } from "@unseal/vendor/client"
import { expect, test } from "vitest"
import { giveDeadLetters, useQueue } from "../../../test/harness/queue.ts"
import {
  type ReconcileDependencies,
  type ReconcileEvent,
  type ReconcileOptions,
  reconcile,
} from "./reconcile.ts"
import { redriveCommitted } from "./redrive-committed.ts"

const current = useQueue("reconcile")
const never = new AbortController().signal
const HOUR_MS = 3_600_000
const PASSWORD = "d3JhcHBlZC1jYW5hcnk="

const archive = (fields: Partial<VendorArchive> = {}): VendorArchive => ({
  ...{ archiveId: randomUUID(), status: "uploaded", createdAt: Date.now() - 60_000 },
  ...{ encryptedPassword: PASSWORD, ...fields },
})
const idOf = (projectId: string, { archiveId }: VendorArchive) =>
  jobIdOf({ projectId, archiveId, encryptedPassword: PASSWORD })
const project = (id: string) => ({
  ...{ id, destination: `s3://${id}`, destinationKey: "{projectId}/{archiveId}.ts" },
})

interface World {
  /** The vendor's list for each project. A function in it is called when the list is read that far. */
  readonly listed: Record<string, (VendorArchive | (() => Promise<void>))[]>
  /** Keys of records. */
  readonly records: Set<string>
  stat?: (key: string) => Promise<void>
  closed: string[]
}
const world = (listed: World["listed"]): World => ({ listed, records: new Set(), closed: [] })

function dependencies(world: World): ReconcileDependencies {
  return {
    ...{ connection: current.client, queue: current.name },
    openStore: async (url) => ({
      async stat(key) {
        await world.stat?.(key)
        return world.records.has(key) ? { key, size: 1, etag: "e", metadata: {} } : null
      },
      async close() {
        world.closed.push(url)
      },
    }),
    vendorOf: (id) =>
      world.listed[id] === undefined
        ? null
        : {
            async *listArchives() {
              for (const one of world.listed[id]!) {
                if (typeof one === "function") await one()
                else yield one
              }
            },
          },
  }
}

function run(
  world: World,
  projects: readonly string[],
  {
    dryRun = false,
    lookBackMs = HOUR_MS,
    signal = never,
    lane,
  }: Partial<ReconcileOptions> & { signal?: AbortSignal } = {},
): Promise<ReconcileEvent[]> {
  const options = { projects: projects.map(project), lookBackMs, dryRun, lane }
  return Array.fromAsync(reconcile(dependencies(world), options, signal))
}
const jobs = async () => (await queueStatus(current.client, current.name)).jobs

test("enqueues what is neither done nor in the queue, and reports the state of the rest", async () => {
  const [dead] = await giveDeadLetters(current, 1, "7", Date.now(), "ERR_OBJECT_CHANGED: a")
  const deadArchive = archive({ archiveId: dead!.split("_")[1]! })
  const [lost, done, live, expired] = [archive(), archive(), archive(), archive({ status: "expired" })]
  const { archiveId } = live
  await current.producer.enqueue(
    createJobPayload({
      ...{ projectId: "7", archiveId, encryptedPassword: PASSWORD, status: "uploaded" },
      ...{ receivedAt: new Date().toISOString(), nonce: randomUUID() },
    }),
  )
  const { encryptedPassword: _, ...plain } = archive()
  const listed = [lost, done, live, expired, deadArchive, plain, archive({ status: "started" })]
  const it = world({ "7": [...listed, archive({ createdAt: Date.now() - 2 * HOUR_MS })] })
  it.records.add(`7/${done.archiveId}.json`)

  const findings = {
    ...{ projectId: "7", archives: 7, encrypted: 5, done: 1, live: 1 },
    enqueued: [{ archiveId: lost.archiveId, jobId: idOf("7", lost) }],
    deadLetters: [{ archiveId: deadArchive.archiveId, jobId: dead }],
    ...{ discarded: [], expired: [expired.archiveId] },
  }
  const told = [
    { kind: "enqueued", projectId: "7", ...findings.enqueued[0] },
    { kind: "reconciled", findings },
  ]
  expect(await run(it, ["7"], { dryRun: true })).toEqual(told)
  expect((await jobs()).waiting).toBe(1)
  expect(await run(it, ["7"])).toEqual(told)
  expect((await jobs()).waiting).toBe(2)
  expect((await run(it, ["7"])).at(-1)).toMatchObject({ findings: { live: 2, enqueued: [] } })
  expect(it.closed).toEqual(["s3://7", "s3://7", "s3://7"])
})

test("enqueues into the given lane, and leaves archives that are in the queue in theirs", async () => {
  const [first, second] = [archive(), archive()]
  const it = world({ "7": [first] })
  await run(it, ["7"], { lane: "bulk" })
  const waiting = async () => {
    const { lanes } = await queueStatus(current.client, current.name)
    return [lanes.live.waiting, lanes.bulk.waiting]
  }
  expect(await waiting()).toEqual([0, 1])
  it.listed["7"] = [first, second]
  await run(it, ["7"])
  expect(await waiting()).toEqual([1, 1])
})

test("leaves alone what was discarded, redriven before or not, until a callback brings it or a month has passed", async () => {
  const [first] = await giveDeadLetters(current, 1, "7", Date.now(), "ERR_NO_MATCHING_KEY: a")
  const letters = openDeadLetters({ connection: current.client, queue: current.name })
  try {
    const other = archive({ archiveId: first!.split("_")[1]! })
    const it = world({ "7": [other] })
    expect((await run(it, ["7"])).at(-1)).toMatchObject({ findings: { deadLetters: [{ jobId: first }] } })
    expect(await letters.discard(first!)).toBe(true)
    const left = { enqueued: [], deadLetters: [], discarded: [other.archiveId] }
    expect((await run(it, ["7"])).at(-1)).toMatchObject({ findings: left })
    expect((await jobs()).waiting).toBe(0)

    // A job that was redriven is discarded under the id that it has now.
    await current.client.del(discardedKey(current.name))
    const [again] = await giveDeadLetters(current, 1, "7", Date.now(), "ERR_NO_MATCHING_KEY: a")
    const redriven = await letters.redrive(again!)
    await current.client.zadd(queueKey(current.name, "failed"), Date.now(), redriven!.jobId)
    expect(await letters.discard(redriven!.jobId)).toBe(true)
    expect(await current.client.zrange(discardedKey(current.name), "0", "-1")).toEqual([again])

    await current.client.zadd(discardedKey(current.name), Date.now() / 1_000 - 31 * 86_400, first!)
    expect((await run(it, ["7"])).at(-1)).toMatchObject({ findings: { enqueued: [{}], discarded: [] } })
  } finally {
    await letters.close()
  }
})

test("three at once enqueue each of many archives once", async () => {
  const it = world({ "7": Array.from({ length: 50 }, () => archive()) })
  const all = (await Promise.all([run(it, ["7"]), run(it, ["7"]), run(it, ["7"])])).flat()
  const enqueued = all.flatMap((event) => (event.kind === "enqueued" ? [event.archiveId] : []))
  expect(enqueued).toHaveLength(50)
  expect(new Set(enqueued).size).toBe(50)
  expect((await jobs()).waiting).toBe(50)
})

test("a project that fails reports what it has enqueued until then, and one without credentials is skipped", async () => {
  const [well, bad] = [archive(), archive()]
  const it = world({ "7": [well, bad], "9": [archive()] })
  const error = new UnsealError("ERR_STORE_UNAVAILABLE", "the store answered 503")
  it.stat = async (key) => {
    if (key.includes(bad.archiveId)) throw error
  }
  const events = await run(it, ["7", "8", "9"])
  expect(events).toMatchObject([
    { kind: "enqueued", archiveId: well.archiveId },
    { kind: "failed", error, findings: { projectId: "7", encrypted: 2, enqueued: [{}] } },
    { kind: "left-out", projectId: "8" },
    { kind: "enqueued", projectId: "9" },
    { kind: "reconciled" },
  ])
  expect(it.closed).toEqual(["s3://7", "s3://9"])
})

test("the store is closed when nobody uses it any more, although one look has failed before another is over", async () => {
  const [slow, bad] = [archive(), archive()]
  const it = world({ "7": [slow, bad] })
  const failed = Promise.withResolvers<void>()
  let overlap = 0
  it.stat = async (key) => {
    if (key.includes(bad.archiveId)) {
      failed.resolve()
      throw new UnsealError("ERR_STORE_UNAVAILABLE", "the store answered 503")
    }
    await failed.promise
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    overlap += it.closed.length
  }
  expect((await run(it, ["7"])).at(-1)).toMatchObject({ kind: "failed", findings: { enqueued: [{}] } })
  expect(overlap).toBe(0)
})

test("a completed archive that is gone from its destination is done again, under the id of a redrive", async () => {
  const lost = archive()
  const jobId = idOf("7", lost)
  await current.client.hset(queueKey(current.name, jobId), "data", "{}")
  await current.client.zadd(queueKey(current.name, "completed"), Date.now(), jobId)
  const [event] = await run(world({ "7": [lost] }), ["7"])
  expect(event).toEqual({ kind: "enqueued", projectId: "7", archiveId: lost.archiveId, jobId: `${jobId}_r2` })
  expect((await findJob(current.client, current.name, jobId))?.jobId).toBe(`${jobId}_r2`)
})

test("reading the list ends after a hundred archives that are too old, not after the first", async () => {
  const old = () => archive({ createdAt: Date.now() - 2 * HOUR_MS })
  const it = world({
    "7": [archive(), old(), archive(), ...Array.from({ length: 100 }, old), archive()],
  })
  expect((await run(it, ["7"])).at(-1)).toMatchObject({ findings: { archives: 2, enqueued: [{}, {}] } })
})

test("a vendor that never answers is left when the signal is aborted, and the store is closed", async () => {
  const giveUp = new AbortController()
  const hang = () =>
    new Promise<void>((_, reject) => {
      giveUp.signal.addEventListener("abort", () => reject(giveUp.signal.reason))
      giveUp.abort(new Error("enough"))
    })
  const it = world({ "7": [archive(), hang], "8": [archive()] })
  await expect(run(it, ["7", "8"], { signal: giveUp.signal })).rejects.toThrow("enough")
  expect(it.closed).toEqual(["s3://7"])
})

test("an invalid look-back is refused at once", () => {
  const options = { projects: [], dryRun: false }
  for (const lookBackMs of [59_999, -1, Number.NaN])
    expect(() => reconcile(dependencies(world({})), { ...options, lookBackMs }, never)).toThrow(
      expect.objectContaining({ code: "ERR_OPTION_INVALID" }),
    )
})

/** Runs `redriveCommitted` for ids of project 7, with the vendor's `archives`. */
const again = (ids: readonly string[], archives: readonly VendorArchive[], dryRun = false) =>
  Array.fromAsync(
    redriveCommitted(
      {
        ...{ connection: current.client, queue: current.name },
        vendorOf: (projectId = "7") => ({
          projectId,
          getArchive: async (id) => archives.find(({ archiveId }) => archiveId === id) ?? null,
        }),
      },
      { ids, dryRun },
      never,
    ),
  )

test("a committed archive is enqueued anew with the vendor's password, unless its job exists", async () => {
  const [committed, waiting] = [archive(), archive()]
  const jobId = idOf("7", committed)
  await current.client.hset(queueKey(current.name, jobId), "data", "{}")
  await current.client.zadd(queueKey(current.name, "completed"), Date.now(), jobId)
  await run(world({ "7": [waiting] }), ["7"])
  const ids = [jobId, waiting.archiveId.toUpperCase()]
  expect(await again(ids, [committed, waiting], true)).toMatchObject([{ jobId }, { kind: "redriven" }])
  expect((await jobs()).waiting).toBe(1)
  expect(await again(ids, [committed, waiting])).toMatchObject([
    { kind: "redriven", id: jobId, archiveId: committed.archiveId, jobId: `${jobId}_r2` },
    { kind: "duplicate", id: ids[1], archiveId: waiting.archiveId, of: { state: "waiting" } },
  ])
  expect((await jobs()).waiting).toBe(2)
})

test("nothing is redriven unless the vendor knows all named archives and their passwords", async () => {
  const well = archive()
  const { encryptedPassword: _, ...plain } = archive()
  await expect(again([well.archiveId, "unknown"], [well])).rejects.toMatchObject({
    ...{ code: "ERR_ARCHIVE_UNKNOWN", message: "the vendor knows no archive unknown of project 7" },
  })
  await expect(again([well.archiveId, plain.archiveId], [well, plain])).rejects.toMatchObject({
    code: "ERR_ARCHIVE_NOT_ENCRYPTED",
  })
  expect((await jobs()).waiting).toBe(0)
  await expect(async () => again([], [])).rejects.toMatchObject({ code: "ERR_OPTION_INVALID" })
})
