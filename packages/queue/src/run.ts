import { isUnsealError } from "@unseal/archive/errors"
import { untilAborted } from "@unseal/archive/waiting"
import type { Job } from "bullmq"
import type { Redis } from "ioredis"
import { type CheckpointLog, openCheckpointLog } from "./checkpoint.ts"
import { withDeadline } from "./deadline.ts"
import { type Ending, endingOf, type RunResult } from "./ending.ts"
import type { QueueLogger } from "./error-log.ts"
import { type JobPayload, parseJobPayload } from "./job.ts"
import type { JobLock, LockLostError } from "./lock.ts"

/** The reason of an abort that is no failure: the process ends, the job goes back. */
export class ShutdownReason extends Error {
  override readonly name = "ShutdownReason"
}

/** What a run gets beside its payload. */
export interface JobContext {
  readonly jobId: string
  /** 1 for the first. Neither a hand-back nor waiting for an object counts. */
  readonly attempt: number
  /** How often a run of this job has begun, this one included: also after a hand-back, a wait or a killed worker. */
  readonly starts: number
  /** Aborted with a `ShutdownReason` or a `LockLostError`: the run must end soon, without an effect. */
  readonly signal: AbortSignal
  /** Resolves when the job has just been confirmed to be this run's; else throws `LockLostError`. To be called right before what can't be undone. */
  fence(): Promise<void>
  readonly checkpoint: CheckpointLog
}

/** A run that ended. */
export interface EndedRun<Result extends RunResult> {
  readonly jobId: string
  readonly attempt: number
  /** Absent if it could not be parsed. */
  readonly payload?: JobPayload
  readonly ending: Ending<Result>
  /** What the run threw, if it did. */
  readonly error?: unknown
  readonly durationMs: number
}

const HANDED_BACK = { kind: "handed-back" } as const

/**
 * A job that was found without its worker more often is a dead letter: it is probably what kills them. Where workers are killed
 * at random every few seconds, an archive that takes as long has been seen to lose eleven of them in a row.
 */
export const STALL_LIMIT = 20
/** What all runs of a consumer share. */
export interface RunnerOptions<Result extends RunResult> {
  readonly connection: Redis
  readonly queue: string
  readonly attempts: number
  readonly lockMs: number
  readonly objectWaitMs: number
  readonly logger?: QueueLogger
  logError(error: unknown, message: string): void
  run(payload: JobPayload, context: JobContext): Promise<Result>
}

/** Runs jobs from the payload to the ending; what becomes of the job then is not its business. */
export interface Runner<Result extends RunResult> {
  /** One run. Does not throw. `givenUp` rejects when a run that was aborted has taken too long to end. */
  runOnce(
    job: Job,
    token: string,
    lock: JobLock,
    signal: AbortSignal,
    givenUp: Promise<never>,
  ): Promise<Pick<EndedRun<Result>, "payload" | "ending" | "error">>
}

export function createRunner<Result extends RunResult>(deps: RunnerOptions<Result>): Runner<Result> {
  const { connection, queue, attempts, lockMs, objectWaitMs, logger, logError } = deps
  /** By job id: the end of a run, whatever has become of its job meanwhile. */
  const runs = new Map<string, Promise<void>>()

  async function runOnce(
    job: Job,
    token: string,
    lock: JobLock,
    signal: AbortSignal,
    givenUp: Promise<never>,
  ): Promise<Pick<EndedRun<Result>, "payload" | "ending" | "error">> {
    const jobId = job.id ?? ""
    const openLog = (signal: AbortSignal) =>
      openCheckpointLog({
        ...{ connection, queue, jobId, token, signal },
        ...(logger && { logger }),
        onLockLost: (reason: LockLostError) => lock.lose(reason),
      })
    let payload: JobPayload | undefined
    const seen = () => (payload ? { payload } : {})
    try {
      if (job.stalledCounter > STALL_LIMIT) {
        const reason = `ERR_STALLED: ${job.stalledCounter} workers ended while they had this job`
        return { ending: { kind: "dead", code: "ERR_STALLED", reason } }
      }
      payload = parseJobPayload(job.data)
      if (!(await predecessorEnded(jobId, signal))) return { ...seen(), ending: HANDED_BACK }
      signal.throwIfAborted()
      const checkpoint = openLog(signal)
      const running = deps.run(payload, {
        jobId,
        attempt: job.attemptsMade + 1,
        starts: job.attemptsStarted,
        signal,
        fence: () => lock.fence(),
        checkpoint,
      })
      const ended = running.then(
        () => {},
        () => {},
      )
      runs.set(jobId, ended)
      void ended.then(() => runs.get(jobId) === ended && runs.delete(jobId))

      const result = await Promise.race([running, givenUp])
      if (lock.lost) return { ...seen(), ending: { kind: "lost" } }
      if (!checkpoint.empty) await forget(openLog(AbortSignal.timeout(1_000)))
      return { ...seen(), ending: { kind: "completed", result } }
    } catch (error) {
      const ending = endingOf({
        error,
        lockLost: lock.lost,
        shuttingDown: signal.aborted,
        attemptsMade: job.attemptsMade,
        attempts,
        waitedMs: Date.now() - job.timestamp,
        objectWaitMs,
      })
      // A dead letter for want of attempts keeps its checkpoint: it may go on from there when it is redriven.
      if (ending.kind === "dead" && isUnsealError(error) && error.kind === "permanent")
        await forget(openLog(AbortSignal.timeout(1_000)))
      return { ...seen(), ending, error }
    }
  }

  /**
   * An earlier run of the same job in this process may still be ending, after its lock was lost. Two must not overlap; one
   * that does not end must not keep the job from other workers either, so that this waits no longer than a lock holds.
   */
  async function predecessorEnded(jobId: string, signal: AbortSignal): Promise<boolean> {
    const earlier = runs.get(jobId)
    if (!earlier) return true
    const ended = earlier.then(() => true)
    return await untilAborted(
      withDeadline(ended, lockMs, () => new Error()).catch(() => false),
      signal,
    )
  }

  async function forget(checkpoint: CheckpointLog): Promise<void> {
    await checkpoint
      .clear()
      .catch((error) => logError(error, "checkpoint was not removed; it expires by itself"))
  }

  return { runOnce }
}
