import { withDeadline } from "@unseal/archive/waiting"
import { DelayedError, type Job, UnrecoverableError, WaitingError } from "bullmq"
import type { Ending, RunResult } from "./ending.ts"

/** A Redis that is away must not keep a process from ending. */
const MOVE_MS = 1_000

/**
 * Applies an ending to a BullMQ job, as the last step of its processor. A returned value completes the job, and an exception says
 * what else happens to it. If a job can't be moved (`onError`), its lock expires and it is found as stalled: only a little time
 * is lost.
 */
export async function applyEnding<Result extends RunResult>(
  job: Job,
  token: string,
  ending: Ending<Result>,
  options: {
    /** Whether Redis has already said that the lock is gone, so that it need not be asked again. */
    readonly lockRefused: boolean
    /** Gives a job that will be delayed its new place in line. */
    putBackInLine(): Promise<void>
    /** Returns the job to the head of its lane. */
    handBack(): Promise<unknown>
    onError(error: unknown): void
  },
): Promise<Result> {
  const move = (work: Promise<unknown>) =>
    withDeadline(work, MOVE_MS, () => new Error(`redis did not answer within ${MOVE_MS} ms`)).catch(
      options.onError,
    )

  switch (ending.kind) {
    case "committed":
      return ending.result
    case "dead-letter":
      throw new UnrecoverableError(ending.reason)
    case "retry":
      await move(options.putBackInLine())
      throw new Error(ending.reason)
    case "waiting":
      await move(options.putBackInLine())
      await move(job.moveToDelayed(Date.now() + ending.delayMs, token))
      throw new DelayedError()
    case "suspended":
    case "held":
      // The deciding script has set it aside. If Redis did not answer, it is still active, and will be found as stalled.
      throw new DelayedError()
    case "handed-back":
      await move(options.handBack())
      throw new WaitingError()
    case "lock-lost":
      // If Redis was only silent for too long, the lock may still be ours. Then nobody need wait until it expires.
      if (!options.lockRefused) await move(options.handBack())
      // Tells BullMQ that this run no longer owns the job, so BullMQ leaves it alone.
      throw new WaitingError()
  }
}
