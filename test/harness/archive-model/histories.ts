/** Steps of a history, each checked against the model. */

import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import { expect } from "vitest"
import { createByteBudget } from "../../../packages/archive/src/decrypt/budget.ts"
import { isUnsealError } from "../../../packages/archive/src/errors.ts"
import { formatCrc32 } from "../../../packages/archive/src/format/crc32.ts"
import type { ArchiveRecord } from "../../../packages/archive/src/record/record.ts"
import {
  type Interruption,
  KEY,
  type Model,
  type RunOptions,
  type Step,
  type Version,
  type Visible,
  verdict,
  visibleFrom,
} from "./model.ts"
import { type Ended, runOnce, type World } from "./world.ts"

/** Checks a record against the plaintext that it describes. */
function checkRecord(record: ArchiveRecord, version: Version, { bytes }: Visible): void {
  const { packets, syncErrors } = record.media
  expect({ packets, syncErrors }).toEqual({
    packets: Math.floor(version.plaintext.length / 188),
    syncErrors: 0,
  })
  expect(record.crc32).toBe(formatCrc32(crc32(bytes)))
  expect(record.destination.size).toBe(bytes.length)
  expect(record.source).toEqual({ key: KEY, size: version.ciphertext.length, etag: version.etag })
  expect(record.tail.padding).toBe(version.padding)
  if (record.sha256) expect(record.sha256.plaintext).toBe(createHash("sha256").update(bytes).digest("hex"))
  if (record.sha256?.announced) expect(record.sha256.announced).toBe("ciphertext")
}

async function checkDestination(world: World, { destination }: Model): Promise<void> {
  expect((await world.bytes())?.toString("hex")).toBe(destination?.bytes.toString("hex"))
}

/** Whether this run had to clean up: it is done, or has judged the archive, or no other run follows. */
function isSettled({ result, error, crashed }: Ended, { checkpoint }: RunOptions): boolean {
  if (crashed) return false
  if (result !== undefined || checkpoint === "none") return true
  if (!isUnsealError(error)) return false
  if (error.owner === "deployment") return false
  return error.kind === "permanent" || error.code === "ERR_OBJECT_CHANGED"
}

async function checkRun(world: World, model: Model, options: RunOptions, interruption?: Interruption) {
  const [etag, open, token] = [await world.etag(), await world.openTokens(), world.log.token]
  const budget = createByteBudget(options.parts * options.partSize)
  const ended = await runOnce(world, model, options, budget, interruption)
  expect(budget.holders).toBe(0)

  const before = { ...model }
  model.source = ended.version ?? model.source
  // If the source was replaced during the read, the record has the version that was read.
  const versions = [before.source, model.source].filter((version) => version !== null)
  const read = versions.find((version) => version.etag === ended.result?.record.source.etag)
  const verdicts = [before, model, { ...model, destination: ended.foreign ?? model.destination }].map((now) =>
    verdict(now, options),
  )
  if (ended.result !== undefined) {
    expect(verdicts).toContain("done")
    expect(read).toBeDefined()
    const made = visibleFrom(read!, options.tail)
    if (ended.result.outcome !== "already-committed")
      expect(ended.result.outcome).toBe(read!.ciphertext.length === 0 ? "empty" : "committed")
    checkRecord(ended.result.record, read!, made)
    if (!ended.foreign) {
      expect(await world.record()).toEqual(ended.result.record)
      expect(ended.result.record.destination.etag).toBe(await world.etag())
    }
    if (options.checkpoint !== "none") expect(world.log.token).toBeUndefined()
    model.destination = made
  } else if (ended.error !== ended.thrown) {
    const expected: unknown[] = verdicts.filter((code) => code !== "done")
    if (ended.version) expected.push("ERR_OBJECT_CHANGED")
    // An object written over the archive right after its commit is found in its place.
    if (ended.foreign && options.existing === "replace") expected.push("ERR_COMMIT_MISMATCH")
    if (!isUnsealError(ended.error)) throw ended.error
    expect(expected, ended.error.message).toContain(ended.error.code)
  }
  if (ended.foreign) {
    // Never replaced unless that is allowed.
    const bytes = await world.bytes()
    const isForeign = bytes?.equals(ended.foreign.bytes) ?? false
    expect(isForeign || options.existing === "replace").toBe(true)
    if (isForeign) model.destination = ended.foreign
    else model.destination = visibleFrom(model.source!, options.tail)
  } else if (ended.result === undefined && (await world.etag()) !== etag) {
    // Visible although the run failed: an answer was lost, or a record could not be written.
    expect(ended.thrown).toBeDefined()
    const bytes = await world.bytes()
    const made = versions.map((version) => visibleFrom(version, options.tail))
    model.destination = made.find((visible) => bytes?.equals(visible.bytes)) ?? null
  }
  await checkDestination(world, model)
  if (isSettled(ended, options)) {
    const mayStay = new Set([...open, ...ended.lost])
    if (options.checkpoint !== "none" && token !== undefined && !ended.lost.has(token)) mayStay.delete(token)
    expect([...(await world.openTokens())].filter((left) => !mayStay.has(left))).toEqual([])
  }
  const beganAnew = token === undefined && before.destination?.madeFrom !== model.destination?.madeFrom
  if (ended.result !== undefined && options.checkpoint !== "none" && beganAnew && !interruption)
    expect([...(await world.openTokens(KEY))]).toEqual([])
}

async function checkTwoRuns(world: World, model: Model, options: RunOptions): Promise<void> {
  const budget = createByteBudget(options.parts * options.partSize)
  const etag = await world.etag()
  const runs = await Promise.all([1, 2].map(() => runOnce(world, model, options, budget)))
  expect(budget.holders).toBe(0)
  const expected = verdict(model, options)
  for (const { result, error } of runs) {
    if (result !== undefined) {
      expect(expected).toBe("done")
      checkRecord(result.record, model.source!, visibleFrom(model.source!, options.tail))
    } else if (!isUnsealError(error)) throw error
    // One run may have ended the upload that both were using. Then its other run tries again.
    else if (error.code !== expected)
      expect([expected, error.kind], error.message).toEqual(["done", "transient"])
  }
  if (runs.some((run) => run.result) || (await world.etag()) !== etag)
    model.destination = visibleFrom(model.source!, options.tail)
  await checkDestination(world, model)
}

export async function take(step: Step, world: World, model: Model): Promise<void> {
  switch (step.do) {
    case "put":
      model.source = await world.putSource(step.content)
      break
    case "remove":
      await world.remove(step.key)
      if (step.key !== "record") model[step.key] = null
      break
    case "foreign":
      model.destination = await world.putForeign()
      break
    case "lose checkpoint":
      await world.log.clear()
      break
    case "run":
      await checkRun(world, model, step.options, step.interruption)
      break
    case "run twice at once":
      await checkTwoRuns(world, model, step.options)
      break
  }
}

export const lastRun: RunOptions = {
  // Without a digest, written parts are not read again, so the trust in a resumed upload must be justified.
  ...{ partSize: 752, parts: 3, digest: "none", announced: false },
  ...{ tail: "keep", existing: "replace", checkpoint: "kept" },
}
