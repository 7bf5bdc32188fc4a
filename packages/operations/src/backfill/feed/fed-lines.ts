/** The lines of a backfill that are in the queue, and their outcomes. */
import { type JobOfArchive, readJobStates } from "@unseal/queue/backfill/job-states"
import { jobIdOf } from "@unseal/queue/jobs/job"
import { isDone, type Skip } from "../skip.ts"
import type { Blocks } from "./blocks.ts"
import type { FeedDependencies } from "./dependencies.ts"
import { lookAtEach, withSides } from "./looks.ts"
import type { Candidate, LinePlace, Segments } from "./segments.ts"
import { createTempo } from "./tempo.ts"

export interface FedLines {
  /** How many are in line or running, and how many wait in the queue for something. */
  readonly waiting: number
  readonly delayed: number
  /** How many have recently left the queue each second. */
  drainedPerSecond(): number
  /** Settles the line if its job shows its outcome, or notes that it is in the queue. `false` if the job shows neither. */
  judge(one: Candidate, job: JobOfArchive): boolean
  /** Settles a line that has a record. */
  settleBy(at: LinePlace, skip: Skip): void
  /** Notes that a line is in the queue. */
  note(one: Candidate, isDelayed: boolean): void
  /** Asks for the state of the lines in the queue, those fed earliest first, as long as that settles many. */
  poll(): Promise<void>
}

interface FedLine extends LinePlace {
  /** The id of its first job. */
  readonly jobId: string
  readonly projectId: string
  readonly archiveId: string
  isDelayed: boolean
}

/** A line whose job has left the queue. */
type LeftQueue = FedLine & { readonly wasCompleted: boolean }

/** A line is given up after this many jobs that were completed but left no record. */
const MOST_UNRECORDED = 3
/** How many jobs are asked about together. */
const ASKED_AT_ONCE = 1_000

export function createFedLines(
  dependencies: Pick<FeedDependencies, "connection" | "queue" | "sidesOf" | "isHeld" | "step">,
  segments: Pick<Segments, "settle" | "move" | "stateOf">,
  blocks: Blocks,
  startedAt: number,
  signal: AbortSignal,
): FedLines {
  const { connection, queue, sidesOf, step = async () => {} } = dependencies
  const drained = createTempo()
  const unrecorded = new Map<string, number>()
  let fed: FedLine[] = []
  const delayed = () => fed.reduce((count, { isDelayed }) => count + Number(isDelayed), 0)

  function settleBy(at: LinePlace, { finishedAt = "" }: Skip): void {
    const ms = Date.parse(finishedAt)
    segments.settle(at, ms >= startedAt ? "committed" : "done", {}, Number.isNaN(ms) ? 0 : ms)
  }

  /** Whether the job alone settles the line. */
  function settleByJob(at: LinePlace, job: JobOfArchive): boolean {
    if (job.state === "dead") {
      segments.settle(at, "dead-letter", { code: job.code, reason: job.reason, jobId: job.jobId })
      return true
    }
    // Redis notes it in seconds.
    if (job.state !== "discarded" || job.discardedAt < startedAt - 1_000) return false
    segments.settle(at, "discarded", {}, job.discardedAt)
    return true
  }

  function note({ segment, index, line }: Candidate, isDelayed: boolean): void {
    const { projectId, archiveId } = line
    segments.move({ segment, index }, "fed")
    fed.push({ segment, index, jobId: jobIdOf(line), projectId, archiveId, isDelayed })
  }

  /** Settles lines that have left the queue by their records. If a store does not answer, its lines stay as they are. */
  async function confirm(lines: readonly LeftQueue[]): Promise<void> {
    const work = async (one: LeftQueue) => {
      // The size in the manifest does not matter here: the queue has run this job to its end.
      const { projectId, archiveId } = one
      const skip = await withSides(sidesOf, { projectId, archiveId }, ({ destination, destinationKey }) =>
        isDone({ projectId, archiveId }, destination, destinationKey, signal),
      )
      await step("confirmed")
      if (skip !== null) return settleBy(one, skip)
      const name = `${one.segment}:${one.index}`
      const times = (unrecorded.get(name) ?? 0) + Number(one.wasCompleted)
      unrecorded.set(name, times)
      if (times < MOST_UNRECORDED) return segments.move(one, "ready")
      segments.settle(one, "unrecorded", {
        reason: `its job was completed ${times} times, and the destination has no record of it`,
      })
    }
    await lookAtEach(lines, blocks, work, signal)
  }

  return {
    get waiting() {
      return fed.length - delayed()
    },
    get delayed() {
      return delayed()
    },
    drainedPerSecond: () => drained.perSecond(),
    settleBy,
    note,
    judge(one, job) {
      if (job.state !== "live") return settleByJob(one, job)
      note(one, job.isDelayed)
      return true
    },
    async poll() {
      for (let left = fed.length; left > 0 && dependencies.isHeld(); ) {
        const some = fed.slice(0, Math.min(left, ASKED_AT_ONCE))
        const ids = some.map(({ jobId }) => jobId)
        const jobs = await readJobStates(connection, queue, ids)
        const gone: LeftQueue[] = []
        for (const [index, one] of some.entries()) {
          const job = jobs[index]!
          if (job.state === "live") one.isDelayed = job.isDelayed
          else if (!settleByJob(one, job)) gone.push({ ...one, wasCompleted: job.state === "completed" })
        }
        try {
          await confirm(gone)
        } finally {
          // Even after an error, only lines that are settled, or are to be fed again, leave this list.
          const kept = some.filter((one) => segments.stateOf(one) === "fed")
          fed = [...fed.slice(some.length), ...kept]
          left -= some.length
          drained.add(some.length - kept.length)
          if (kept.length > some.length / 2) left = 0
        }
      }
    },
  }
}
