/** Backfills on a real queue, with stores in memory: feeders are killed, Redis forgets, stores refuse. */

import { setTimeout as sleep } from "node:timers/promises"
import { UnsealError } from "@unseal/archive/errors"
import { openDeadLetters } from "@unseal/queue/dead-letters/dead-letters"
import { createJobPayload, jobIdOf } from "@unseal/queue/jobs/job"
import { afterEach, beforeEach, expect, test } from "vitest"
import {
  archiveOf,
  type BackfillWorld,
  createBackfillWorld,
  manifestOf,
  never,
} from "../../../../../test/harness/backfill/world.ts"
import { useQueue } from "../../../../../test/harness/queue.ts"
import { KEYS } from "../home/objects.ts"
import { NO_ORDERS, readOrders } from "../home/orders.ts"
import { order } from "../places.ts"
import type { Started } from "../start.ts"

const current = useQueue("backfill")
const SOON = { timeout: 60_000, interval: 20 }
const PROJECTS = ["100001", "100002"]

let world: BackfillWorld
beforeEach(() => {
  world = createBackfillWorld({ url: current.redis.url, name: current.name }, PROJECTS)
})
afterEach(() => world.close())

const archives = (count: number, projectId = "100001") =>
  Array.from({ length: count }, () => archiveOf(projectId))
const ended = (started: Started) => expect.poll(() => world.hasEnded(started), SOON).toBe(true)
const access = () => ({
  ...{ connection: current.client, queue: current.name, homes: PROJECTS },
  openHome: async (id: string) => world.stores.get(id)!,
})
const placeOf = ({ id, home }: Started) => ({ id, home, store: world.stores.get(home)! })

/** Each archive was committed once, and the report has each line once, all of them done. */
async function expectAllDone(started: Started, all: readonly { archiveId: string }[]): Promise<void> {
  expect([...world.commits.values()].filter((count) => count !== 1)).toEqual([])
  expect(new Set(world.commits.keys())).toEqual(new Set(all.map(({ archiveId }) => archiveId)))
  const report = await world.report(started)
  expect(report.map(({ line, archiveId }) => [line, archiveId])).toEqual(
    all.map(({ archiveId }, index) => [index + 1, archiveId]),
  )
  expect(report.filter(({ outcome }) => outcome !== "committed" && outcome !== "done")).toEqual([])
}

test.each(
  (["looked", "enqueued", "confirmed", "settling", "settled", "state-written", "ended"] as const).flatMap(
    (step) => (step === "ended" ? [1] : [1, 2]).map((passage) => [step, passage] as const),
  ),
)("a feeder that dies at %s, passage %i, costs nothing: the next one continues", async (step, passage) => {
  const all = archives(50)
  const started = await world.start(manifestOf(all))
  let passages = 0
  let isDead = false
  const dying = world.feed({
    async step(at) {
      if (at === step && ++passages >= passage) {
        isDead = true
        dying.kill()
      }
      // Nothing happens after a kill.
      if (isDead) await new Promise(() => {})
    },
  })
  world.work()
  await expect.poll(() => isDead, SOON).toBe(true)
  world.feed()
  await ended(started)
  await expectAllDone(started, all)
})

test("Redis loses everything half-way: the backfill is found at its home, and no archive is lost", async () => {
  const all = archives(60)
  const started = await world.start(manifestOf(all))
  world.feed()
  let isEmptied = false
  world.work(async () => {
    if (isEmptied || world.commits.size < 25) return
    isEmptied = true
    await current.client.flushall()
  })
  await ended(started)
  expect(isEmptied).toBe(true)
  await expectAllDone(started, all)
})

test("Redis loses everything right after the homes were searched: they are searched again", async () => {
  const all = archives(30)
  const started = await world.start(manifestOf(all))
  let turns = 0
  world.feed({
    observe: {
      ...{ began() {}, ended() {}, halted() {} },
      turned(shown) {
        if (shown.length > 0 && ++turns === 1) void current.client.flushall()
      },
    },
  })
  await expect.poll(() => turns, SOON).toBeGreaterThan(1)
  world.work()
  await ended(started)
  await expectAllDone(started, all)
})

test("a stored segment that was replaced halts the backfill, and nothing of it is fed, until it is put back", async () => {
  const all = archives(40)
  const started = await world.start(manifestOf(all))
  const store = world.stores.get("100001")!
  const [first, second] = started.manifest.segments.map(({ sha256 }) => KEYS.segment(sha256))
  const kept = store.objects.get(second!)!
  store.objects.set(second!, store.objects.get(first!)!)
  world.feed()
  world.work()
  await expect
    .poll(() => world.troubles.map(({ error }) => String(error)), SOON)
    .toContainEqual(expect.stringMatching(/lines.*have the SHA-256 [0-9a-f]{64}: it was replaced/))
  await expect.poll(() => world.commits.size, SOON).toBe(20)
  store.objects.set(second!, kept)
  // An order takes effect at once, even though the backfill rests.
  await order(access(), placeOf(started), { command: "resume" }, never)
  await ended(started)
  await expectAllDone(started, all)
})

test.each([
  ["cut short", (bytes: Buffer) => bytes.subarray(0, 10), /can't be unpacked/],
  ["no gzip", () => Buffer.from("lines"), /can't be unpacked/],
  ["gone", () => undefined, /is missing/],
] as const)("a segment that is %s halts the backfill", async (_, change, reason) => {
  const started = await world.start(manifestOf(archives(5)))
  const store = world.stores.get("100001")!
  const key = KEYS.segment(started.manifest.segments[0]!.sha256)
  const changed = change(store.objects.get(key)!)
  if (changed === undefined) store.objects.delete(key)
  else store.objects.set(key, changed)
  world.feed()
  await expect
    .poll(() => world.troubles.map(({ error }) => String(error)), SOON)
    .toContainEqual(expect.stringMatching(reason))
  expect(await current.client.zcard(`{${current.name}}:${current.name}:prioritized`)).toBe(0)
  // A second start writes the lines again.
  expect(await world.start(manifestOf(archives(1)))).toMatchObject({ outcome: "started" })
})

test("another manifest under the id is recognised by its digests", async () => {
  const [one, other] = [
    await world.start(manifestOf(archives(5))),
    await world.start(manifestOf(archives(5))),
  ]
  const store = world.stores.get("100001")!
  store.objects.set(KEYS.manifest(one.id), store.objects.get(KEYS.manifest(other.id))!)
  world.feed()
  world.work()
  await ended(other)
  await expect
    .poll(() => world.troubles.filter(({ id }) => id === one.id).map(({ error }) => String(error)), SOON)
    .toContainEqual(expect.stringContaining(`is the manifest of backfill ${other.id}: it was replaced`))
  expect(world.commits.size).toBe(5)
})

test("a home that is full holds the backfill up, and it goes on when there is room", async () => {
  const all = archives(30)
  const started = await world.start(manifestOf(all))
  const store = world.stores.get("100001")!
  store.deny = (call, key) => (call === "create" && key.includes("outcomes") ? "ERR_STORE_FULL" : undefined)
  world.feed()
  world.work()
  await expect
    .poll(() => world.troubles.map(({ error }) => (error as UnsealError).code), SOON)
    .toContain("ERR_STORE_FULL")
  await expect.poll(() => world.commits.size, SOON).toBe(30)
  store.deny = () => undefined
  await order(access(), placeOf(started), { command: "resume" }, never)
  await ended(started)
  await expectAllDone(started, all)
})

test("if a project's destination refuses, the project waits, the others go on, and no line is given up", async () => {
  const [held, free] = [archives(25, "100002"), archives(25, "100001")]
  const all = held.flatMap((one, index) => [one, free[index]!])
  const started = await world.start(manifestOf(all), { home: "100001" })
  const denied = world.stores.get("100002")!
  denied.deny = () => "ERR_STORE_DENIED"
  world.feed()
  world.work()
  await expect.poll(() => world.commits.size, SOON).toBe(25)
  expect(denied.calls.length).toBeLessThan(1_000)
  denied.deny = () => undefined
  await ended(started)
  await expectAllDone(started, all)
})

test("two feeders at once commit nothing twice", async () => {
  const all = archives(60)
  const started = await world.start(manifestOf(all))
  world.feed()
  const other = createBackfillWorld({ url: current.redis.url, name: current.name }, [])
  try {
    // They have no common lease, as if one had been frozen and had not noticed.
    const { client } = current
    const stolen = setInterval(() => void client.del(`{${current.name}}:backfills:feeder`), 10)
    world.feed()
    world.work()
    await ended(started)
    clearInterval(stolen)
    await expectAllDone(started, all)
  } finally {
    await other.close()
  }
})

test("two starts of one manifest at once are one backfill; and so is a start after the end", async () => {
  const all = archives(30)
  const starts = await Promise.all([world.start(manifestOf(all)), world.start(manifestOf(all))])
  expect(starts[0].id).toBe(starts[1].id)
  expect(starts.map(({ outcome }) => outcome).toSorted()).toEqual(["running", "started"])
  world.feed()
  world.work()
  await ended(starts[0])
  await expectAllDone(starts[0], all)
  expect((await world.start(manifestOf(all))).outcome).toBe("ended")
  const again = await world.start(manifestOf(all), { again: true })
  expect(again).toMatchObject({ outcome: "started", id: `${starts[0].id}-2` })
  await ended(again)
  expect((await world.report(again)).map(({ outcome }) => outcome)).toEqual(all.map(() => "done"))
})

test("several backfills run at once, with callbacks for their archives and for others", async () => {
  const manifests = [archives(40), archives(40, "100002"), archives(40)]
  const starts = await Promise.all(manifests.map((all) => world.start(manifestOf(all))))
  world.feed()
  world.work()
  const live = [...manifests[0]!.slice(10, 20), ...archives(10)]
  for (const [index, one] of live.entries())
    await current.producer.enqueue(
      createJobPayload({ ...one, receivedAt: new Date().toISOString(), nonce: `live ${index}` }),
    )
  for (const started of starts) await ended(started)
  await expect.poll(() => world.commits.size, SOON).toBe(130)
  expect([...world.commits.values()].every((count) => count === 1)).toBe(true)
  for (const [index, started] of starts.entries())
    expect((await world.report(started)).map(({ archiveId }) => archiveId)).toEqual(
      manifests[index]!.map(({ archiveId }) => archiveId),
    )
})

test("each line has its outcome: done before, committed, dead letter, discarded, refused", async () => {
  const [before, committed, dead, discarded] = archives(4)
  world.work(async ({ archiveId }) => {
    if (archiveId === dead!.archiveId || archiveId === discarded!.archiveId)
      throw new UnsealError("ERR_NO_MATCHING_KEY", `no key fits, "really"`)
  })
  await current.producer.enqueue(
    createJobPayload({ ...before!, receivedAt: new Date().toISOString(), nonce: "before" }),
  )
  await expect.poll(() => world.commits.size, SOON).toBe(1)
  await new Promise((resolve) => setTimeout(resolve, 5))
  const started = await world.start([
    { line: 1, payload: before! },
    { line: 2, malformed: "it is not JSON, as it seems" },
    { line: 3, payload: committed! },
    { line: 4, ignored: "no-callback" },
    { line: 5, payload: dead! },
    // The same archive once more has the same outcome.
    { line: 6, payload: committed! },
    { line: 7, payload: discarded! },
  ])
  expect(started.manifest).toMatchObject({ archives: 5, refused: 1, ignored: 1, sized: 5, bytes: 5_000 })
  await order(access(), placeOf(started), { command: "pause" }, never)
  await current.producer.enqueue(
    createJobPayload({ ...discarded!, receivedAt: new Date().toISOString(), nonce: "d" }),
  )
  const letters = openDeadLetters({ connection: current.client, queue: current.name })
  await expect.poll(() => letters.discard(jobIdOf(discarded!)), SOON).toBe(true)
  await letters.close()
  await order(access(), placeOf(started), { command: "resume" }, never)
  world.feed()
  await ended(started)
  const report = await world.report(started)
  expect(report.map(({ line, outcome, code }) => [line, outcome, code])).toEqual([
    [1, "done", ""],
    [2, "refused", ""],
    [3, "committed", ""],
    [5, "dead-letter", "ERR_NO_MATCHING_KEY"],
    [6, "committed", ""],
    [7, "discarded", ""],
  ])
  expect(report[3]!.reason).toBe('ERR_NO_MATCHING_KEY: no key fits, "really"')
})

test("an archive whose record disappears again and again is given up, but no other", async () => {
  const all = archives(3)
  const [lost] = all
  const started = await world.start(manifestOf(all))
  const store = world.stores.get("100001")!
  store.deny = (call, key) => {
    if (call === "open" && key.includes(lost!.archiveId)) store.objects.delete(key)
    return undefined
  }
  world.feed()
  world.work()
  await ended(started)
  const report = await world.report(started)
  expect(report.map(({ outcome }) => outcome)).toEqual(["unrecorded", "committed", "committed"])
  expect(report[0]!.reason).toBe("its job was completed 3 times, and the destination has no record of it")
})

test("pause, resume and cancel take effect while it runs; cancelled lines are in the report", async () => {
  const all = archives(60)
  const started = await world.start(manifestOf(all), { pace: { archivesPerSecond: 4 } })
  world.feed()
  world.work()
  await expect.poll(() => world.commits.size, SOON).toBeGreaterThan(2)
  await order(access(), placeOf(started), { command: "pause" }, never)
  const fed = async () =>
    JSON.parse((await current.client.hget(`{${current.name}}:backfills:progress`, started.id)) ?? "{}")
  await expect.poll(async () => (await fed()).waiting, SOON).toBe(0)
  const paused = world.commits.size
  expect(paused).toBeLessThan(60)
  await order(access(), placeOf(started), { command: "cancel" }, never)
  await ended(started)
  await expect(order(access(), placeOf(started), { command: "resume" }, never)).rejects.toThrow(
    expect.objectContaining({ code: "ERR_BACKFILL_ENDED" }),
  )
  const report = await world.report(started)
  expect(report).toHaveLength(60)
  const count = (outcome: string) => report.filter((one) => one.outcome === outcome).length
  expect(count("committed")).toBe(world.commits.size)
  expect(count("committed") + count("cancelled")).toBe(60)
})

test("a rate that is raised while it runs takes effect at once", async () => {
  const all = archives(40)
  const started = await world.start(manifestOf(all), { pace: { archivesPerSecond: 0.01 } })
  world.feed()
  world.work()
  await expect.poll(() => world.commits.size, SOON).toBe(1)
  await order(access(), placeOf(started), { command: "set", pace: {} }, never)
  await ended(started)
  await expectAllDone(started, all)
  expect((await readOrders(world.stores.get("100001")!, started.id, NO_ORDERS, never)).orders).toBe(2)
})

test("outside its hours a backfill settles what is in the queue and feeds nothing, until it is given other hours", async () => {
  const all = archives(40)
  const hour = new Date().getUTCHours()
  // Two hours from now, for an hour: not even a test that begins at the end of an hour is within them.
  const later: [number, number] = [(hour + 2) % 24, (hour + 3) % 24 || 24]
  const started = await world.start(manifestOf(all), { pace: { archivesPerSecond: 2 } })
  world.feed()
  world.work()
  await expect.poll(() => world.commits.size, SOON).toBeGreaterThan(2)
  await order(access(), placeOf(started), { command: "set", pace: { hours: later } }, never)
  const fed = async () =>
    JSON.parse((await current.client.hget(`{${current.name}}:backfills:progress`, started.id)) ?? "{}")
  await expect.poll(async () => (await fed()).isWithinHours, SOON).toBe(false)
  await expect.poll(async () => (await fed()).waiting, SOON).toBe(0)
  const atClosing = world.commits.size
  expect(atClosing).toBeLessThan(40)
  // A second is many turns of this feeder.
  await sleep(1_000)
  expect(world.commits.size).toBe(atClosing)
  await order(access(), placeOf(started), { command: "set", pace: {} }, never)
  await ended(started)
  await expectAllDone(started, all)
})

test("a manifest without an archive, or with a project that is not configured, starts nothing", async () => {
  const nothing = world.start([{ line: 1, malformed: "it is not JSON" }])
  await expect(nothing).rejects.toThrow(/has no archive that can be decrypted/)
  const foreign = world.start(manifestOf([...archives(1), ...archives(2, "999999")]))
  await expect(foreign).rejects.toThrow("999999 (2 archives, from line 2 on)")
  expect([...world.stores.get("100001")!.objects.keys()].filter((key) => key.includes("manifest"))).toEqual(
    [],
  )
})
