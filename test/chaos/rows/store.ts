/** A store answers wrongly, late or not at all, and objects change. */

import type { FaultAction } from "@unseal/simulator/s3/faults/plan"
import { inWorld, many, type Row, scaled, until } from "../row.ts"
import { readJobs } from "../world/jobs.ts"
import type { World } from "../world/world.ts"
import { feed } from "./kill.ts"
import { untilStep } from "./overtaken.ts"
import { slowSource } from "./signals.ts"

const MIB = 1024 * 1024
/** Keys of sources begin with the project, those of destinations with `plain/`. */
const SOURCES = /^\d/
const DESTINATIONS = /^plain\//

/** Together they strike three of ten requests. */
const READ_FAULTS: readonly (readonly [number, FaultAction])[] = [
  [0.08, { status: 503 }],
  [0.05, { status: 429 }],
  [0.05, { reset: true }],
  [0.04, { resetAfterBytes: 300_000 }],
  [0.03, { shortBody: 400_000 }],
  [0.02, { shortBody: 1_000, framing: "chunked" }],
  [0.02, { wrongContentRange: true }],
  [0.02, { ignoreRange: true }],
  [0.02, { throttleBytesPerSecond: 2 * MIB }],
]
const WRITE_FAULTS: readonly (readonly [number, FaultAction])[] = [
  [0.1, { status: 503 }],
  [0.06, { status: 500 }],
  [0.05, { status: 429 }],
  [0.05, { reset: true }],
  [0.04, { applyThenReset: true }],
]

/** Every kind of wrong answer at once, on reads and on writes. */
export const storeFaults: Row = {
  name: "store-faults",
  fault: "store 5xx/429 30 %, slow, reset, short body with clean end, wrong Content-Range, 200 for 206",
  demand: "all correct; a short body is never published",
  run: (options) =>
    inWorld(options, { workers: 2 }, async (world) => {
      const archives = scaled(200, options, 10)
      plan(world, "GetObject", SOURCES, READ_FAULTS)
      for (const operation of ["PutObject", "UploadPart"] as const)
        plan(world, operation, DESTINATIONS, WRITE_FAULTS)
      for (const operation of ["HeadObject", "CreateMultipartUpload", "CompleteMultipartUpload"] as const)
        plan(world, operation, DESTINATIONS, [[0.3, { status: 503 }]])
      await feed(world, archives, options.scale < 0.5 ? 7 : 24)
      await world.settled(240_000)
      const struck = world.history.entries.filter((entry) => entry.kind === "store" && entry.operation.fault)
      const jobs = await readJobs(world)
      const again = jobs.filter(({ attempts }) => attempts > 1).length
      return {
        runs: `${archives} archives, ${struck.length} requests struck`,
        measured: `${jobs.filter(({ state }) => state === "completed").length} correct, ${again} of them by a second attempt`,
      }
    }),
}

function plan(
  world: World,
  operation:
    | "GetObject"
    | "PutObject"
    | "UploadPart"
    | "HeadObject"
    | "CreateMultipartUpload"
    | "CompleteMultipartUpload",
  key: RegExp,
  faults: readonly (readonly [number, FaultAction])[],
): void {
  for (const [probability, action] of faults)
    world.s3.faults.add({ operation, key, probability, times: Number.POSITIVE_INFINITY, action })
}

/** A body ends early and cleanly, and only the missing rest is requested again. */
export const shortBody: Row = {
  name: "short-body",
  fault: "short bodies with a clean end",
  demand: "only the missing range is fetched again",
  run: (options) =>
    inWorld(options, { workers: 1 }, async (world) => {
      const archives = scaled(50, options, 4)
      for (const framing of ["length", "chunked"] as const)
        world.s3.faults.add({
          operation: "GetObject",
          key: SOURCES,
          probability: 0.3,
          times: Number.POSITIVE_INFINITY,
          action: { shortBody: 1_000_000, framing },
        })
      await feed(world, archives, 24)
      await world.settled(120_000)
      const fetched = world.history.entries.reduce(
        (sum, entry) =>
          entry.kind === "store" &&
          entry.operation.operation === "GetObject" &&
          SOURCES.test(entry.operation.key)
            ? sum + entry.operation.bytesOut
            : sum,
        0,
      )
      const size = world.answers.reduce((sum, { archive }) => sum + archive.size, 0)
      const struck = world.s3.operations.count("GetObject", ({ fault }) => fault !== undefined)
      // Each part but the first needs the block before it as well.
      const ratio = fetched / size
      return {
        runs: `${archives} archives of ${Math.round(size / MIB)} MiB`,
        measured: `${struck} short bodies, ${((ratio - 1) * 100).toFixed(3)} % more bytes fetched than there are`,
        failures: ratio > 1.001 ? [`${fetched} bytes were fetched of ${size}`] : [],
      }
    }),
}

/** Answers have no body for longer than a request is retried. Without the length check they would be accepted. */
export const emptyBody: Row = {
  name: "empty-body",
  fault: "ranges answered by nothing, longer than a request is retried",
  demand: "correct once the store is; a short body is never published",
  run: (options) =>
    // Switches off the limit on damaged packets, which is a protection of its own and not this row's.
    inWorld(options, { workers: 1, workerEnv: { UNSEAL_MAX_DAMAGE: "100" } }, async (world) => {
      const runs = scaled(20, options)
      for (let index = 0; index < runs; index++) {
        const archive = await world.record(11 * MIB)
        const fault = world.s3.faults.add({
          operation: "GetObject",
          key: archive.sourceKey,
          after: 1,
          times: 12,
          action: { shortBody: 0 },
        })
        await world.call(archive)
        await world.settled(60_000)
        fault.remove()
      }
      return { runs: `${runs} archives`, measured: `${world.versions.keys.length} keys were made visible` }
    }),
}

/** The source is replaced by another object of the same size and password during a slow read. */
export const swapped: Row = {
  name: "swapped",
  fault: "object swapped mid-read",
  demand: "200: no mixes",
  run: (options) =>
    inWorld(options, { workers: 2 }, async (world) => {
      const swaps = scaled(200, options, 2)
      slowSource(world, 5 * MIB)
      await many(swaps, 3, async (index) => {
        const first = world.studio.record(16 * MIB + world.random.integer(0, MIB))
        const second = world.studio.retake(first)
        const archive = world.track(first, { output: new Set([first.plaintext, second.plaintext]) })
        await world.upload(archive.sourceKey, first.ciphertext)
        // Every other one while the first part is read and the others are still to come; the rest at any time.
        const begun = index % 2 === 0 ? 1 : world.random.integer(1, 4)
        await world.call(archive)
        await until("the reading", 60_000, () => readsOf(world, archive.sourceKey) >= begun)
        world.fault(`source ${archive.archiveId} replaced`)
        await world.upload(archive.sourceKey, second.ciphertext)
        await until("the end", 60_000, () => world.versions.of(archive.destinationKey).length > 0)
      })
      await world.settled(60_000)
      const jobs = await readJobs(world)
      const noticed = jobs.filter(({ attempts, starts }) => attempts > 1 || starts > 1).length
      return {
        runs: `${swaps} swaps`,
        measured: `${noticed} were noticed and read from their beginning, the others had been read`,
        failures: noticed === 0 ? ["no swap came mid-read: the row has tested nothing"] : [],
      }
    }),
}

/** The number of reads that have begun. */
const readsOf = (world: World, key: string): number =>
  world.s3.operations.count("GetObject", (operation) => operation.key === key)

const WAYS: Readonly<Record<string, FaultAction>> = {
  "reset before": { reset: true },
  "reset after": { applyThenReset: true },
  "500 before": { status: 500 },
  "500 after": { applyThenStatus: 500 },
  "error in 200 before": { errorInOk: true },
  "error in 200 after": { applyThenErrorInOk: true },
  "404 after": { applyThenStatus: 404, code: "NoSuchUpload" },
  "412 after": { applyThenStatus: 412 },
}

export const ambiguous: Row = {
  name: "ambiguous",
  fault: `complete ambiguous in ${Object.keys(WAYS).length} ways: ${Object.keys(WAYS).join(", ")}`,
  demand: "50 each: correct, no open uploads",
  run: (options) =>
    inWorld(options, { workers: 2 }, async (world) => {
      const each = scaled(50, options)
      await many(each * Object.keys(WAYS).length, 4, async (index) => {
        const ways = Object.values(WAYS)
        // Has several parts, or one, which PutObject makes visible.
        const inParts = world.random.next() < 0.7
        const archive = await world.record(inParts ? 6 * MIB : MIB)
        world.s3.faults.add({
          operation: inParts ? "CompleteMultipartUpload" : "PutObject",
          key: archive.destinationKey,
          action: ways[index % ways.length]!,
        })
        await world.call(archive)
      })
      await world.settled(120_000)
      return {
        runs: `${each * Object.keys(WAYS).length} completes`,
        measured: `${(await readJobs(world)).filter(({ state }) => state === "completed").length} correct, ${world.s3.openUploads().length} open uploads`,
      }
    }),
}

/** A worker dies in the middle of an archive, and a reader looks at once: nothing may be there. */
export const midway: Row = {
  name: "midway",
  fault: "a worker killed between two parts",
  demand: "nothing is visible before everything is written and checked",
  run: (options) =>
    inWorld(options, { workers: 0 }, async (world) => {
      const runs = scaled(20, options)
      const failures: string[] = []
      for (let index = 0; index < runs; index++) {
        const dying = await world.startWorker({ RIG_FAULT_POINT: "after-part:2:kill" })
        const archive = await world.record(11 * MIB)
        await world.call(archive)
        await untilStep(world, archive, "after-part")
        await dying.exited
        const visible = await world.destination.stat(archive.destinationKey, AbortSignal.timeout(10_000))
        if (visible !== null)
          failures.push(`${archive.destinationKey} is visible, with ${visible.size} bytes`)
        const healer = await world.startWorker()
        await world.settled(30_000)
        await world.kill(healer, "SIGTERM")
      }
      return { runs: `${runs} kills`, measured: `${failures.length} were visible too early`, failures }
    }),
}
