import type { CheckpointLog } from "@unseal/archive/decrypt/checkpoint"
import { isUnsealError, type Side, UnsealError } from "@unseal/archive/errors"
import { untilAborted, withDeadline } from "@unseal/archive/waiting"
import type { Job } from "bullmq"
import { type JobPayload, parseJobPayload } from "../jobs/job.ts"
import type { QueueLogger } from "../redis/error-log.ts"
import type { TakenJob } from "../suspension/contract.ts"
import {
  ALONE_FROM_FREEZES,
  ALONE_FROM_STALLS,
  FREEZE_LIMIT,
  type FreezeRecord,
  type Room,
  readFreezes,
} from "../watch/alone.ts"
import { type RunProgress, RunStuckError } from "../watch/watchdog.ts"
import { openCheckpointLog } from "./checkpoint.ts"
import type { Ending, RunResult } from "./ending.ts"
import { createJudge, HANDED_BACK, type JudgeOptions } from "./judge.ts"
import type { JobLock, LockLostError } from "./lock.ts"

/** The reason of an abort that is not a failure: the process ends, and the job goes back. */
export class ShutdownReason extends Error {
  override readonly name = "ShutdownReason"
}

/**
 * The reason of an abort that is not a failure: the run waits for a side that its project is suspended for, so the job is held.
 */
export class SuspendedReason extends Error {
  override readonly name = "SuspendedReason"
}

/** What a run gets in addition to its payload. */
export interface JobContext {
  readonly jobId: string
  /** 1 for the first. Neither a hand-back nor waiting for an object counts. */
  readonly attempt: number
  /** How many runs of this job have begun, including this one, and those after a hand-back, a wait or a killed worker. */
  readonly starts: number
  /** Must be told about every step and every byte. A run that reports nothing for minutes is aborted (watchdog.ts). */
  readonly progress: RunProgress
  /**
   * Aborted with a `ShutdownReason`, a `SuspendedReason`, a `LockLostError` or a `RunStuckError`: the run must end soon, without
   * an effect.
   */
  readonly signal: AbortSignal
  /**
   * Resolves when it has just been confirmed that this run owns the job; else throws `LockLostError`. Call it right before what
   * can't be undone.
   */
  fence(): Promise<void>
  readonly checkpoint: CheckpointLog
  /**
   * Call it whenever a side has done what was asked of it, at `since` on the clock of `Date.now` (default: now). It ends a
   * suspension of that side (suspension.ts).
   */
  worked(side: Side, since?: number): void
  /**
   * Call it now and then while the run waits for a side without progress of its own. If any worker has meanwhile suspended its
   * project for that side, the run is aborted, and its job is held. The probe goes on.
   */
  waits(side: Side): void
  /**
   * Whether the project is suspended for `side`, as far as this worker knows. Earlier knowledge about the side then proves
   * nothing.
   */
  isSuspended(side: Side): boolean
}

/** A run that ended. */
export interface EndedRun<Result extends RunResult> {
  readonly jobId: string
  readonly attempt: number
  /** How many runs of the job had begun, this one included. */
  readonly starts: number
  /** Absent if it could not be parsed. */
  readonly payload?: JobPayload
  readonly ending: Ending<Result>
  /** What the run threw, if it did. */
  readonly error?: unknown
  readonly durationMs: number
}

/**
 * A job that was found without its worker more often than this is a dead letter, because it probably kills its workers. When
 * workers were killed at random every few seconds, a slow archive has been seen to lose eleven of them in a row.
 */
export const STALL_LIMIT = 20

/** What all runs of a consumer share. */
export interface RunnerOptions<Result extends RunResult> extends JudgeOptions {
  readonly lockMs: number
  readonly room: Room
  /** Called while a run is still in the room. A run that blocked its worker may end before any timer has noticed. */
  onEnding(): void
  readonly logger?: QueueLogger
  run(payload: JobPayload, context: JobContext): Promise<Result>
}

/**
 * The payload of `job`. Throws `ERR_JOB_INVALID` if it is malformed, or another job's: it would be published under a wrong name.
 */
function readPayload(job: Job): JobPayload {
  const payload = parseJobPayload(job.data)
  if (!(job.id ?? "").startsWith(`${payload.projectId}_${payload.archiveId}`))
    throw new UnsealError(
      "ERR_JOB_INVALID",
      "the job is damaged: its data and its id name different archives",
    )
  return payload
}

/** Runs jobs from the payload to the ending. What happens to the job then is decided elsewhere. */
export interface Runner<Result extends RunResult> {
  /** One run. Does not throw. It may abort itself. `givenUp` rejects when an aborted run has taken too long to end. */
  runOnce(
    job: Job,
    token: string,
    lock: JobLock,
    abort: AbortController,
    givenUp: Promise<never>,
    progress: RunProgress,
  ): Promise<Pick<EndedRun<Result>, "payload" | "ending" | "error">>
}

export function createRunner<Result extends RunResult>(deps: RunnerOptions<Result>): Runner<Result> {
  const { connection, queue, lockMs, suspensions, room, logger, logError } = deps
  const judge = createJudge(deps)
  /** By job id: the end of a run, whatever has become of its job meanwhile. */
  const runs = new Map<string, Promise<void>>()

  const runOnce: Runner<Result>["runOnce"] = async (job, token, lock, abort, givenUp, progress) => {
    const { signal } = abort
    const jobId = job.id ?? ""
    const openLog = (signal: AbortSignal) =>
      openCheckpointLog({
        ...{ connection, queue, jobId, token, signal },
        ...(logger && { logger }),
        onLockLost: (reason: LockLostError) => lock.lose(reason),
      })
    let taken: TakenJob | undefined
    let startedAt = performance.now()
    let probeOf: string | undefined
    const worked = new Map<Side, number>()
    let leave: (() => void) | null = () => {}
    const seen = () => (taken ? { payload: taken.payload } : {})
    const suspensionsLearn = () => {
      if (taken)
        suspensions
          .ended(taken, worked, probeOf)
          .catch((error) => logError(error, "a suspension could not be told how a run ended"))
    }
    try {
      if (job.stalledCounter > STALL_LIMIT) {
        const reason = `ERR_STALLED: ${job.stalledCounter} workers ended while they had this job`
        return { ending: { kind: "dead-letter", code: "ERR_STALLED", reason } }
      }
      const payload = readPayload(job)
      taken = { jobId, token, payload, isFirst: Number(job.priority) === 0 }
      if (!(await predecessorEnded(jobId, signal))) return { ...seen(), ending: HANDED_BACK }
      signal.throwIfAborted()
      const { froze, frozeAlone } = await freezesOf(job, signal)
      if (frozeAlone >= FREEZE_LIMIT) {
        const reason = `ERR_STALLED: it ran alone and blocked its worker for longer than ${lockMs / 1_000} s, ${frozeAlone} times`
        return { ...seen(), ending: { kind: "dead-letter", code: "ERR_STALLED", reason } }
      }
      const alone = job.stalledCounter >= ALONE_FROM_STALLS || froze >= ALONE_FROM_FREEZES
      const entered = progress.begin("waiting for its worker's other runs", "shared")
      leave = await room.enter(jobId, alone, signal).finally(entered)
      if (leave === null) return { ...seen(), ending: HANDED_BACK }
      const admission = await judge.admit(taken, signal)
      if (admission.kind === "held") return { ...seen(), ending: admission }
      if (admission.kind === "aside") return { ...seen(), ending: HANDED_BACK }
      if (admission.kind === "expired") return { ...seen(), ending: { ...admission, kind: "dead-letter" } }
      probeOf = admission.probeOf
      const checkpoint = openLog(signal)
      startedAt = performance.now()
      const running = deps.run(payload, {
        jobId,
        attempt: job.attemptsMade + 1,
        starts: job.attemptsStarted,
        progress,
        signal,
        fence: () => lock.fence(),
        checkpoint,
        worked(side, since = Date.now()) {
          worked.set(side, since)
          suspensions.works(payload, side, since)
        },
        isSuspended: (side) => suspensions.hinders(payload, side),
        waits(side) {
          if (suspensions.hinders(payload, side, probeOf)) abort.abort(new SuspendedReason())
        },
      })
      const ended = running.then(
        () => {},
        () => {},
      )
      runs.set(jobId, ended)
      void ended.then(() => runs.get(jobId) === ended && runs.delete(jobId))

      const result = await Promise.race([running, givenUp])
      if (lock.lost) return { ...seen(), ending: { kind: "lock-lost" } }
      suspensionsLearn()
      if (!checkpoint.empty) await forget(openLog(AbortSignal.timeout(1_000)))
      return { ...seen(), ending: { kind: "committed", result } }
    } catch (thrown) {
      if (signal.reason instanceof SuspendedReason && taken !== undefined && !lock.lost) {
        const ending = await judge.stoodBack(taken, lock)
        suspensionsLearn()
        return { ...seen(), ending }
      }
      // An aborted run may throw anything. The reason of the abort is the failure.
      const error = signal.reason instanceof RunStuckError ? signal.reason : thrown
      const ending = await judge.failed(error, job, taken, lock, signal, performance.now() - startedAt)
      if (ending.kind === "suspended") worked.delete(ending.side)
      if (ending.kind !== "lock-lost" && !(signal.reason instanceof ShutdownReason)) suspensionsLearn()
      // Keeps what a redriven job can continue: trouble of the deployment says nothing about the archive.
      if (ending.kind === "dead-letter" && isUnsealError(error) && isFinal(error))
        await forget(openLog(AbortSignal.timeout(1_000)))
      return { ...seen(), ending, error }
    } finally {
      deps.onEnding()
      leave?.()
    }
  }

  /** The known freezes. A job that never lost its worker has none, so Redis is not asked. */
  async function freezesOf(job: Job, signal: AbortSignal): Promise<FreezeRecord> {
    const none = { froze: 0, frozeAlone: 0 }
    if (job.stalledCounter === 0) return none
    try {
      return await untilAborted(readFreezes(connection, queue, job.id ?? ""), signal)
    } catch (error) {
      signal.throwIfAborted()
      logError(error, "a job's freezes could not be read")
      return none
    }
  }

  /**
   * An earlier run of the same job in this process may still be ending after it lost its lock. The two must not overlap. But a
   * run that does not end must not keep the job from other workers either, so this waits no longer than a lock lasts.
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

/** Whether no later run of the archive can continue from what this one left. */
const isFinal = ({ kind, owner }: UnsealError): boolean => kind === "permanent" && owner === "archive"
