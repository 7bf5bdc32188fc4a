/** Selects, redrives and discards dead letters. */
import { randomUUID } from "node:crypto"
import { readAccounts } from "@unseal/queue/accounting"
import { openDeadLetters } from "@unseal/queue/dead-letters/dead-letters"
import { listDeadLetters } from "@unseal/queue/dead-letters/list"
import { findJob } from "@unseal/queue/jobs/find-job"
import { queueKey } from "@unseal/queue/names"
import { queueStatus } from "@unseal/queue/status"
import { expect, test } from "vitest"
import { giveDeadLetters, useQueue } from "../../../test/harness/queue.ts"
import { findDeadLetters } from "./dead-letters.ts"
import { discard } from "./discard.ts"
import type { QueueAccess } from "./queue-access.ts"
import { type RedriveChoice, redrive } from "./redrive.ts"

const current = useQueue("operations")
const never = new AbortController().signal
const HOUR_MS = 3_600_000
const CHANGED = "ERR_OBJECT_CHANGED: another version is there"
const KEY = "ERR_NO_MATCHING_KEY: none of 3 keys fits"

const access = (): QueueAccess => ({ connection: current.client, queue: current.name })
const give = (count: number, projectId: string, agoMs: number, reason: string) =>
  giveDeadLetters(current, count, projectId, Date.now() - agoMs, reason)
const outcomes = (choice: RedriveChoice, dryRun = false) =>
  Array.fromAsync(redrive(access(), choice, { dryRun }, never))
const jobs = async () => (await queueStatus(current.client, current.name)).jobs
const left = async () => (await listDeadLetters(current.client, current.name)).map(({ jobId }) => jobId)

test("each selected dead letter is in line under a new id, which is reported", async () => {
  const [newest, older] = [await give(1, "7", 0, KEY), await give(1, "7", 1_000, KEY)].flat()
  const other = await give(1, "8", 0, KEY)
  const told = await outcomes({ projectId: "7" })
  expect(told).toMatchObject([
    { kind: "redriven", letter: { jobId: newest }, jobId: `${newest}_r2` },
    { kind: "redriven", letter: { jobId: older }, jobId: `${older}_r2` },
  ])
  expect(await jobs()).toMatchObject({ waiting: 2, failed: 1 })
  expect(await left()).toEqual(other)
  expect(JSON.stringify(told)).not.toContain("d3JhcHBl")
})

test("a redriven dead letter goes into the given lane", async () => {
  await give(2, "100001", HOUR_MS, CHANGED)
  const named = await Array.fromAsync(
    redrive(access(), { all: true }, { dryRun: false, lane: "bulk" }, never),
  )
  expect(named.map(({ kind }) => kind)).toEqual(["redriven", "redriven"])
  const { lanes } = await queueStatus(current.client, current.name)
  expect(lanes).toMatchObject({ live: { waiting: 0 }, bulk: { waiting: 2 } })
})

test("more than a page of them are all redriven, each once", async () => {
  await give(1_003, "7", 0, KEY)
  const told = await outcomes({ all: true })
  expect(new Set(told.map(({ letter }) => letter.jobId)).size).toBe(1_003)
  expect(told.every(({ kind }) => kind === "redriven")).toBe(true)
  expect(await jobs()).toMatchObject({ waiting: 1_003, failed: 0 })
})

test("they can be selected by code, project, id and age, and by all of these together", async () => {
  const [old] = await give(1, "7", 2 * HOUR_MS, KEY)
  const [young] = await give(1, "7", 0, CHANGED)
  const find = async (choice: Parameters<typeof findDeadLetters>[1]) =>
    (await findDeadLetters(access(), choice, 10, never)).map(({ jobId }) => jobId)
  expect(await find({})).toEqual([young, old])
  expect(await find({ code: "ERR_NO_MATCHING_KEY" })).toEqual([old])
  expect(await find({ olderThanMs: HOUR_MS })).toEqual([old])
  expect(await find({ olderThanMs: HOUR_MS, code: "ERR_OBJECT_CHANGED" })).toEqual([])
  expect(await find({ ids: [young!.split("_")[1]!] })).toEqual([young])
  expect(await find({ projectId: "8" })).toEqual([])
  expect(await findDeadLetters(access(), {}, 1, never)).toHaveLength(1)
  expect(await findDeadLetters(access(), {}, 0, never)).toEqual([])
})

test("a dry run reports the same and changes nothing, not even a dead letter whose payload is lost", async () => {
  const [torn, whole] = await give(2, "7", 0, KEY)
  await current.client.hdel(queueKey(current.name, torn!), "data")
  const expected = [
    { kind: "refused", letter: { jobId: torn }, reason: expect.stringContaining("has lost its payload") },
    { kind: "redriven", letter: { jobId: whole } },
  ]
  expect(await outcomes({ all: true }, true)).toMatchObject(expected)
  expect(await left()).toEqual([torn, whole])
  expect(await outcomes({ all: true })).toMatchObject(expected)
  expect(await left()).toEqual([torn])
})

test("one that somebody else has taken meanwhile is gone, and the others are redriven", async () => {
  const [first, second, third] = await give(3, "7", 0, KEY)
  const deadLetters = openDeadLetters(access())
  const kinds: string[] = []
  for await (const { kind, letter } of redrive(access(), { all: true }, { dryRun: false }, never)) {
    kinds.push(kind)
    if (letter.jobId === first) await deadLetters.discard(second!)
  }
  await deadLetters.close()
  expect(kinds).toEqual(["redriven", "gone", "redriven"])
  expect((await findJob(current.client, current.name, third!))?.state).toBe("live")
})

test("leaving the loop, or aborting it, has redriven what was reported, and no more", async () => {
  const [first, second, third] = await give(3, "7", 0, KEY)
  for await (const outcome of redrive(access(), { all: true }, { dryRun: false }, never)) {
    expect(outcome).toMatchObject({ kind: "redriven", jobId: `${first}_r2` })
    break
  }
  expect(await left()).toEqual([second, third])

  const giveUp = new AbortController()
  const loop = async () => {
    for await (const _ of redrive(access(), { all: true }, { dryRun: false }, giveUp.signal))
      giveUp.abort(new Error("enough"))
  }
  await expect(loop()).rejects.toThrow("enough")
  expect(await left()).toEqual([third])
  const aborted = AbortSignal.abort(new Error("not even begun"))
  await expect(redrive(access(), { all: true }, { dryRun: false }, aborted).next()).rejects.toThrow(
    "not even begun",
  )
})

test("an invalid selection is refused at once, with its code", async () => {
  const choices: [RedriveChoice, string][] = [
    [{}, "nothing says which dead letters are meant"],
    [{ code: undefined, projectId: undefined }, "nothing says which dead letters are meant"],
    [{ code: "ERR_STALED" }, "no failure has the code ERR_STALED: did you mean ERR_STALLED?"],
    [{ olderThanMs: -1 }, "the age is -1 ms, and must be 0 ms or more"],
    [{ olderThanMs: Number.NaN }, "the age is NaN ms, and must be 0 ms or more"],
  ]
  for (const [choice, message] of choices)
    expect(() => redrive(access(), choice, { dryRun: false }, never)).toThrow(
      expect.objectContaining({ name: "OperationError", code: "ERR_OPTION_INVALID", message }),
    )
  const id = randomUUID()
  await expect(outcomes({ ids: [id] })).rejects.toMatchObject({
    code: "ERR_DEAD_LETTER_UNKNOWN",
    message: `no dead letter has the id of a job or an archive ${id}; nothing was redriven`,
  })
})

test("either all named dead letters are discarded, or none", async () => {
  const [one, two, three] = await give(3, "7", 0, KEY)
  const archiveId = two!.split("_")[1]!
  const run = (ids: readonly string[]) => Array.fromAsync(discard(access(), ids, never))
  await expect(run([one!, "unknown", archiveId])).rejects.toMatchObject({
    code: "ERR_DEAD_LETTER_UNKNOWN",
    message: "no dead letter belongs to the job or archive unknown; nothing was discarded",
  })
  expect(await left()).toHaveLength(3)
  expect(() => discard(access(), [], never)).toThrow("nothing says which dead letters are meant")

  const discarded = await run([one!, archiveId])
  expect(discarded.map(({ jobId }) => jobId)).toEqual([one, two])
  expect(discarded[0]).toMatchObject({ projectId: "7", reason: KEY })
  expect(await left()).toEqual([three])
  expect((await readAccounts(current.client, current.name)).discarded).toBe(2)
})
