/**
 * Feeds one backfill: brings its lines into the queue as fast as workers, pace and window allow, and settles them. It trusts
 * nothing that it remembers. The queue and the destination settle a line, by what they know about its archive. If neither knows
 * the archive, it is enqueued, for the first time or again. So the next feeder continues where this one ends, even if it has lost
 * everything.
 */
import { readJobStates } from "@unseal/queue/backfill/job-states"
import { restoreNotes } from "@unseal/queue/backfill/restores"
import { createJobPayload } from "@unseal/queue/jobs/job"
import { listSuspensions } from "@unseal/queue/suspension/state"
import type { ManifestLine } from "../home/line.ts"
import type { Manifest } from "../home/manifest.ts"
import type { HomeStore } from "../home/objects.ts"
import { NO_ORDERS, readOrders } from "../home/orders.ts"
import type { OutcomeCounts } from "../home/outcomes.ts"
import { createRestorer, type Restorer, type RestorerOptions } from "../restore.ts"
import { isDone } from "../skip.ts"
import { createBlocks } from "./blocks.ts"
import type { FeedDependencies } from "./dependencies.ts"
import { createFedLines } from "./fed-lines.ts"
import { type LineSides, lookAtEach, withSides } from "./looks.ts"
import { createAllowance, isWithinHours, windowOf } from "./pace.ts"
import { type Candidate, createSegments, type LinePlace } from "./segments.ts"
import { createTempo } from "./tempo.ts"

/** How many lines are taken in hand together. */
const ROUND = 500
/** How long one turn may feed, so that other backfills get their turns and orders take effect. */
const TURN_MS = 4_000
/** While more lines than this wait to be restored, no later line is looked at. */
const MOST_RESTORING = 50_000
/** Redis notes orders as well. At least this often, they are read from the home, which keeps them. */
const ORDERS_MS = 60_000
/** How often to look whether an object that was asked back is there. */
const RESTORE_LOOK_MS = 60_000

export interface BackfillFeed {
  /**
   * One turn: reads orders, settles, feeds. `most` is how many of its archives may wait in the queue. Resolves to whether the
   * backfill has ended. Throws what keeps it from going on: the trouble of its home, `BackfillError`, `QueueUnavailableError`.
   */
  turn(most: number, orders: number): Promise<boolean>
  /** Its progress. */
  progress(): Progress
}

/** The progress of a backfill, as its feeder sees it. All numbers count lines. */
export interface Progress {
  readonly outcomes: OutcomeCounts
  /** Lines in the queue: those in line or running, and those that wait for something. */
  readonly waiting: number
  readonly delayed: number
  readonly restoring: number
  readonly window: number
  readonly settledPerSecond: number
  readonly isWithinHours: boolean
  /** Projects that are not fed now, and why: ten of them at most. */
  readonly blocked: readonly { readonly projectId: string; readonly reason: string }[]
}

export async function openFeed(
  dependencies: FeedDependencies,
  backfill: { readonly id: string; readonly home: HomeStore; readonly manifest: Manifest },
  signal: AbortSignal,
): Promise<BackfillFeed> {
  const { connection, queue, producer, step = async () => {} } = dependencies
  const { id, home, manifest } = backfill
  const startedAt = Date.parse(manifest.startedAt)
  const meanBytes = manifest.sized === 0 ? 0 : manifest.bytes / manifest.sized
  const segments = await createSegments(home, id, manifest, step, signal)
  const allowance = createAllowance()
  const blocks = createBlocks()
  const fed = createFedLines(dependencies, segments, blocks, startedAt, signal)
  const settled = createTempo()
  const restoringUntil = new Map<string, number>()
  let standing = await readOrders(home, id, NO_ORDERS, signal)
  let restorer: Restorer | undefined
  let ordersReadAt = performance.now()
  let window = 0

  const nameOf = ({ segment, index }: LinePlace) => `${segment}:${index}`

  async function feed(most: number): Promise<void> {
    const endsAt = performance.now() + TURN_MS
    const now = () => performance.now()
    blocks.suspend(await listSuspensions(connection, queue))
    const capacity = () => Math.min(window - fed.waiting, 2 * most - fed.waiting - fed.delayed)
    while (now() < endsAt && dependencies.isHeld()) {
      signal.throwIfAborted()
      allowance.refill(standing.pace, now())
      window = windowOf(most, fed.drainedPerSecond(), standing.pace, meanBytes)
      let left = capacity()
      const mayFeed = () => standing.isCancelled || (left > 0 && allowance.isOpen)
      if (!mayFeed()) return
      const candidates = await segments.candidates(ROUND, isCandidate, mayOpen())
      if (candidates.length === 0) return
      const chosen = await withoutKnown(candidates)
      let moved = candidates.length - chosen.length
      const work = async (one: Candidate) => {
        if (!mayFeed() || !dependencies.isHeld()) return
        left--
        allowance.take(1, one.line.size ?? 0)
        let outcome: "settled" | "fed" | "later" | undefined
        try {
          outcome = await withSides(dependencies.sidesOf, one.line, (sides) => take(one, sides))
        } finally {
          if (outcome !== "fed") {
            left++
            allowance.take(-1, -(one.line.size ?? 0))
          }
        }
        if (outcome !== "later") moved++
      }
      await lookAtEach(chosen, blocks, work, signal)
      if (moved === 0) return
    }
  }

  const mayOpen = (): boolean => !standing.isCancelled && restoringUntil.size < MOST_RESTORING

  function isCandidate(at: LinePlace, projectId: string): boolean {
    if (blocks.isBlocked(projectId)) return false
    const until = restoringUntil.get(nameOf(at))
    return until === undefined || until <= performance.now()
  }

  /** Drops the candidates that the queue knows, and settles or notes them. */
  async function withoutKnown(candidates: readonly Candidate[]): Promise<Candidate[]> {
    const jobs = await readJobStates(
      connection,
      queue,
      candidates.map(({ jobId }) => jobId),
    )
    const [settled, left]: [Candidate[], Candidate[]] = [[], []]
    for (const [index, one] of candidates.entries()) {
      const job = jobs[index]!
      if (fed.judge(one, job)) settled.push(one)
      else left.push(job.state === "completed" ? { ...one, jobId: job.nextId } : one)
    }
    for (const one of settled) await stopRestoring(one)
    return left
  }

  const restorerOf = (options: RestorerOptions): Restorer => {
    restorer ??= createRestorer(options, restoreNotes(connection, queue, id))
    return restorer
  }

  /** Frees the place of a line's object among those that may be on their way. */
  async function stopRestoring(one: Candidate): Promise<void> {
    restoringUntil.delete(nameOf(one))
    if (standing.restore !== null) await restorerOf(standing.restore).forget(one.line)
  }

  /** Settles a line by its record, or enqueues it. */
  async function take(one: Candidate, sides: LineSides): Promise<"settled" | "fed" | "later"> {
    const { line } = one
    if (segments.stateOf(one) === "pending" || standing.isCancelled) {
      const skip = await isDone(line, sides.destination, sides.destinationKey, signal)
      await step("looked")
      if (skip !== null) {
        fed.settleBy(one, skip)
        await stopRestoring(one)
        return "settled"
      }
    }
    if (standing.isCancelled) {
      segments.settle(one, "cancelled")
      return "settled"
    }
    if (standing.restore !== null) {
      const there = await restorerOf(standing.restore).prepare(line, sides.source, sides.sourceKeys, signal)
      if (there !== "ready") {
        segments.move(one, there === "waiting" ? "restoring" : "ready")
        restoringUntil.set(nameOf(one), performance.now() + RESTORE_LOOK_MS)
        return "later"
      }
      restoringUntil.delete(nameOf(one))
    }
    if (line.size === undefined && standing.pace.bytesPerSecond !== undefined)
      allowance.take(0, await sizeAt(sides, signal))
    await producer.enqueue(payloadOf(line), one.jobId)
    await step("enqueued")
    fed.note(one, false)
    return "fed"
  }

  const isPermitted = (): boolean => !standing.isPaused && isWithinHours(standing.pace, new Date())

  return {
    async turn(most, orders) {
      if (orders > standing.orders || performance.now() - ordersReadAt > ORDERS_MS) {
        const next = await readOrders(home, id, standing, signal)
        if (next.restore !== standing.restore) restorer = undefined
        standing = next
        ordersReadAt = performance.now()
      }
      const before = segments.settledCount()
      // One of these may work even if another fails: a line is settled even if the next segment can't be read.
      const work = [
        () => fed.poll(),
        async () => {
          if (standing.isCancelled || isPermitted()) await feed(most)
          if (standing.isCancelled) await segments.cancel(blocks.isBlocked)
        },
        () => segments.writeSettled(),
      ]
      const failures: unknown[] = []
      for (const one of work) await one().catch((error: unknown) => failures.push(error))
      signal.throwIfAborted()
      settled.add(segments.settledCount() - before)
      if (failures.length > 0) throw failures[0]
      return segments.endIfDone(standing.isCancelled)
    },
    progress: () => ({
      outcomes: segments.outcomes(),
      waiting: fed.waiting,
      delayed: fed.delayed,
      restoring: segments.count("restoring"),
      window,
      settledPerSecond: settled.perSecond(),
      isWithinHours: isWithinHours(standing.pace, new Date()),
      blocked: blocks.list(),
    }),
  }
}

const payloadOf = ({ line: _, ...fields }: ManifestLine) =>
  createJobPayload({
    ...fields,
    lane: "bulk",
    receivedAt: new Date().toISOString(),
    nonce: crypto.randomUUID(),
  })

/** The size of the line's object; 0 if there is none yet. */
async function sizeAt({ source, sourceKeys }: LineSides, signal: AbortSignal): Promise<number> {
  for (const key of sourceKeys) {
    const object = await source.stat(key, signal)
    if (object !== null) return object.size
  }
  return 0
}
