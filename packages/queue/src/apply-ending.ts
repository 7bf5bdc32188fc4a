import { DelayedError, type Job, UnrecoverableError, WaitingError } from "bullmq"
import { withDeadline } from "./deadline.ts"
import type { Ending, RunResult } from "./ending.ts"

/** A Redis that is away must not keep a process from ending. */
const MOVE_MS = 1_000

/**
 * Makes an ending true in BullMQ's terms, as the last thing its processor does: what is returned completes the job, and what
 * is thrown says what else becomes of it. If a job can't be moved (`onError`), its lock runs out and it is found as stalled:
 * nothing is lost but a little time.
 */
export async function applyEnding<Result extends RunResult>(
  job: Job,
  token: string,
  ending: Ending<Result>,
  options: {
    /** Whether Redis has said that the lock is gone, in which case it need not be asked again. */
    readonly lockRefused: boolean
    /** Gives a job that will be delayed its new place in line. */
    putBackInLine(): Promise<void>
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
      // Set aside already, by the script that decided it; or still active, if Redis did not answer, and then found as stalled.
      throw new DelayedError()
    case "handed-back":
      await move(handBack(job, token))
      throw new WaitingError()
    case "lock-lost":
      // If Redis only was silent for too long, the lock may still be ours, and then nobody need wait for it to run out.
      if (!options.lockRefused) await move(handBack(job, token))
      // Tells BullMQ that the job is not this run's any more, which is so: it leaves the job alone.
      throw new WaitingError()
  }
}

/** First in line: a job without a priority is, and its return wakes idle workers, which BullMQ forgets for one that has some. */
async function handBack(job: Job, token: string): Promise<void> {
  await job.changePriority({ priority: 0 })
  await job.moveToWait(token)
}
