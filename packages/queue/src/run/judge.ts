/** Decides what happens to a job, from its run's own failure (ending.ts) and from what only all workers together know. */
import type { UnsealError } from "@unseal/archive/errors"
import { untilAborted, withDeadline } from "@unseal/archive/waiting"
import type { Job } from "bullmq"
import { missedFor } from "../enqueue/late.ts"
import type { RedisClient } from "../redis/client.ts"
import type { Admission, Suspensions, TakenJob } from "../suspension/contract.ts"
import { RunStuckError } from "../watch/watchdog.ts"
import { BULK_OBJECT_WAIT_MS, type Ending, endingOf, type FailedRun } from "./ending.ts"
import { type JobLock, LockLostError } from "./lock.ts"

export interface JudgeOptions {
  readonly connection: RedisClient
  readonly queue: string
  readonly attempts: number
  readonly objectWaitMs: number
  readonly suspensions: Suspensions
  logError(error: unknown, message: string): void
}

export const HANDED_BACK = { kind: "handed-back" } as const
const ANSWER_MS = 1_000
const noAnswer = () => new Error(`redis did not answer within ${ANSWER_MS} ms`)

/** Creates the judge of all of a consumer's runs. */
export function createJudge(options: JudgeOptions) {
  const { connection, queue, attempts, objectWaitMs, suspensions, logError } = options

  /** Decides about a job whose run failed after `runMs`. Asks Redis for what only all workers together know. */
  async function failed(
    error: unknown,
    job: Job,
    taken: TakenJob | undefined,
    lock: JobLock,
    signal: AbortSignal,
    runMs: number,
  ): Promise<Ending<never>> {
    const jobId = job.id ?? ""
    const run: FailedRun = {
      error,
      lockLost: lock.lost,
      shuttingDown: signal.aborted && !(error instanceof RunStuckError),
      attemptsMade: job.attemptsMade,
      attempts,
      waitedMs: 0,
      objectWaitMs,
    }
    const ending = endingOf(run)
    try {
      if (ending.kind === "waiting") {
        const kind = ending.code === "ERR_OBJECT_ARCHIVED" ? "archived" : "missing"
        const missed = await withDeadline(missedFor(connection, queue, jobId, kind), ANSWER_MS, noAnswer)
        const mostMs = missed.lane === "bulk" ? BULK_OBJECT_WAIT_MS : objectWaitMs
        const objectWait = { waitedMs: missed.forMs, objectWaitMs: Math.min(mostMs, objectWaitMs) }
        return endingOf({ ...run, ...objectWait })
      }
      if (ending.kind !== "suspended" || taken === undefined) return ending
      const verdict = await suspensions.hit(taken, ending.side, error as UnsealError, Math.round(runMs))
      if (verdict.kind === "back") return HANDED_BACK
      if (verdict.kind === "own") return endingOf({ ...run, isOwn: true })
      if (verdict.kind === "expired")
        return { kind: "dead-letter", code: ending.code, reason: verdict.reason }
      if (verdict.kind === "lost") {
        lock.lose(new LockLostError("the lock is gone or another worker's"))
        return { kind: "lock-lost" }
      }
      lock.release()
      return ending
    } catch (failure) {
      logError(failure, "job could not be moved")
      return ending
    }
  }

  /** Decides about a job whose run gave way to a suspension, which may have ended since. */
  async function stoodBack(taken: TakenJob, lock: JobLock): Promise<Ending<never>> {
    // If something else ends the run now, this must not wait for Redis.
    const admission = await admit(taken, AbortSignal.timeout(2 * ANSWER_MS)).catch(
      () => ({ kind: "run" }) as const,
    )
    if (admission.kind === "expired") return { ...admission, kind: "dead-letter" }
    if (admission.kind === "held") lock.release()
    return admission.kind === "held" ? admission : HANDED_BACK
  }

  /** Whether a job may run. It may if Redis does not answer. */
  async function admit(taken: TakenJob, signal: AbortSignal): Promise<Admission> {
    try {
      return await untilAborted(suspensions.admit(taken), signal)
    } catch (error) {
      signal.throwIfAborted()
      logError(error, "could not look up whether a job's project is suspended")
      return { kind: "run" }
    }
  }

  return { admit, failed, stoodBack }
}
