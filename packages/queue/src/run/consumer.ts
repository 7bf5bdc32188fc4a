import { hostname } from "node:os"
import { pid } from "node:process"
import { withDeadline } from "@unseal/archive/waiting"
import type { Job } from "bullmq"
import { COMPLETED_METRICS } from "../accounting.ts"
import { PacedWorker } from "../bullmq/paced-worker.ts"
import { renewStartTag } from "../enqueue/fair-queue.ts"
import { JOB_OPTIONS } from "../enqueue/job-options.ts"
import { archiveIn, type JobPayload } from "../jobs/job.ts"
import { handBack, returnStalled } from "../lanes/head-of-line.ts"
import { DEFAULT_BULK_SHARE } from "../lanes/share.ts"
import { queueKey, queuePrefix } from "../names.ts"
import { duplicatePatiently, type RedisClient } from "../redis/client.ts"
import { createErrorLog, type QueueLogger } from "../redis/error-log.ts"
import { type Aside, createAsides } from "../suspension/stand-aside.ts"
import { createSuspensions } from "../suspension/suspension.ts"
import { createRoom, noteFreeze } from "../watch/alone.ts"
import { createFreezeWatch } from "../watch/freeze.ts"
import { createWatchdog, type WatchdogLimits } from "../watch/watchdog.ts"
import { applyEnding } from "./apply-ending.ts"
import { retryDelayMs } from "./backoff.ts"
import type { RunResult } from "./ending.ts"
import { holdLock } from "./lock.ts"
import { createRunner, type EndedRun, type JobContext, ShutdownReason, STALL_LIMIT } from "./run.ts"

export { type EndedRun, type JobContext, ShutdownReason, STALL_LIMIT }

export interface ConsumerOptions<Result extends RunResult> {
  /** Names the server. The consumer makes its own connections like this one. */
  readonly connection: RedisClient
  readonly queue: string
  /** How many jobs run at once. */
  readonly concurrency: number
  /** Attempts before a job becomes a dead letter. Default 12. */
  readonly attempts?: number
  /** How long a job's lock lasts without a renewal. Default 60000. */
  readonly lockMs?: number
  /** The interval of looks for jobs whose worker died. Default 15000. */
  readonly stallCheckMs?: number
  /** How long a job may wait for its object, from the first miss. Default 24 hours. */
  readonly objectWaitMs?: number
  /** How long suspensions may hold a job in all. Default 24 hours. */
  readonly suspendMaxMs?: number
  /** The least percentage that the bulk lane gets while live jobs wait (lanes/share.ts). Default 5. */
  readonly bulkShare?: number
  /** How soon and how often a suspended project is probed. Default: after 1 s, and at least every 20 s. */
  readonly suspension?: { readonly firstMs: number; readonly mostMs: number }
  /** How soon and how often a worker that stands aside looks again. Default: after 5 s, and at least every minute. */
  readonly asides?: { readonly firstMs: number; readonly mostMs: number }
  /** `by-job` is BullMQ's own, and only for the test that shows why it is not used. Default `by-run`. */
  readonly lockRenewal?: "by-run" | "by-job"
  /** When a run counts as stuck. */
  readonly watchdog?: WatchdogLimits
  readonly logger?: QueueLogger
  /** Does one job. What it throws decides what happens to the job (ending.ts). */
  run(payload: JobPayload, context: JobContext): Promise<Result>
  /**
   * Called inside the processor, before BullMQ records the ending. Metrics and logs must not depend on BullMQ's events, which
   * may not come.
   */
  readonly observe: {
    ended(run: EndedRun<Result>): void
    /** A run is stuck and was told to end. Its end is reported separately. */
    stuck?(jobId: string, reason: Error): void
    /** A job was found without its worker, and goes back in line. */
    stalled?(jobId: string): void
  }
}

/** Takes jobs from the queue until it is closed. */
export interface Consumer {
  /** When it last did something (a job ended, a lock was renewed, the queue answered), in milliseconds since the epoch. */
  readonly lastProgressAt: number
  /** What has failed since then, or "". */
  readonly lastTrouble: string
  /** The number of jobs whose run has not ended yet. */
  readonly active: number
  /** How many of its slots bulk jobs hold. */
  readonly activeBulk: number
  /** For each run, how long it has been without progress (watchdog.ts). */
  idleMs(): readonly number[]
  /** The projects from which this worker stands aside because only it fails there (stand-aside.ts). */
  asides(): Aside[]
  /** Takes no more jobs, aborts all runs and hands their jobs back. Resolves within 5 s. */
  close(): Promise<void>
}

interface ActiveRun {
  readonly abort: AbortController
  /** Stops waiting for a run that does not end. */
  giveUp(): void
}

/** How long a run may take to end after an abort. Then its job is handed back without it. */
const GRACE_MS = 2_500
const CLOSE_MS = 4_500

/** Creates a consumer, which begins at once. While Redis is away, it waits. */
export function createConsumer<Result extends RunResult>(options: ConsumerOptions<Result>): Consumer {
  const { queue, concurrency, attempts = 12, lockMs = 60_000, stallCheckMs = 15_000, logger } = options
  const renewsByRun = options.lockRenewal !== "by-job"
  const writeError = createErrorLog(logger)
  let lastTrouble = ""
  const logError: typeof writeError = (error, message) => {
    lastTrouble = `${message}: ${(error as Error).message}`.split("\n", 1)[0]!.slice(0, 200)
    writeError(error, message)
  }
  const connection = duplicatePatiently(options.connection)
  connection.on("error", (error) => logError(error, "redis connection failed"))

  const active = new Set<ActiveRun>()
  const asides = createAsides({ connection, queue, ...options.asides, ...(logger && { logger }) })
  const suspensions = createSuspensions({
    ...{ connection, queue, logError, asides, maxMs: options.suspendMaxMs ?? 24 * 3_600_000 },
    ...options.suspension,
    ...(logger && { logger }),
  })
  const room = createRoom({
    close(jobId) {
      logger?.info(
        { jobId, ...archiveIn(jobId) },
        "a job that may end its worker runs alone: no other is taken meanwhile",
      )
      worker.pause(true).catch((error) => logError(error, "queue failed"))
    },
    open: () => {
      if (!closing) void worker.resume()
    },
  })
  const freezes = createFreezeWatch({
    lockMs,
    onFroze(blockedMs) {
      logger?.warn(
        { blockedMs: Math.round(blockedMs), jobIds: [...room.inside.keys()] },
        "the event loop was blocked for longer than a lock lasts",
      )
      for (const [jobId, alone] of room.inside)
        noteFreeze(connection, queue, jobId, alone).catch((error) =>
          logError(error, "a freeze was not noted"),
        )
    },
  })
  const runner = createRunner({
    ...{ connection, queue, attempts, lockMs, logError, suspensions, room, run: options.run },
    onEnding: freezes.check,
    objectWaitMs: options.objectWaitMs ?? 24 * 3_600_000,
    ...(logger && { logger }),
  })
  const watchdog = createWatchdog({
    ...options.watchdog,
    onHung: (error) => {
      // Uncaught: the process ends and is restarted, and its jobs are found as stalled.
      throw error
    },
  })
  let closing: Promise<void> | undefined
  let lastProgressAt = Date.now()
  const progressed = () => {
    lastProgressAt = Date.now()
    lastTrouble = ""
  }

  const worker = new PacedWorker(queue, process, {
    connection,
    prefix: queuePrefix(queue),
    concurrency,
    // Noted with each job that it takes (archive-jobs.ts).
    name: `${hostname()}:${pid}`,
    autorun: false,
    lockDuration: lockMs,
    skipLockRenewal: renewsByRun,
    stalledInterval: stallCheckMs,
    // Our own limit comes first and is observed. BullMQ's is for a job that kills its process even before that.
    maxStalledCount: STALL_LIMIT + 1,
    runRetryDelay: 1_000,
    // Its INFO at start-up would be one more command that can fail for good.
    skipVersionCheck: true,
    settings: { backoffStrategy: (attemptsMade) => retryDelayMs(attemptsMade) },
    metrics: COMPLETED_METRICS,
  })
  worker.onPoll = progressed
  worker.bulkShare = options.bulkShare ?? DEFAULT_BULK_SHARE
  worker.isChoosy = () => asides.list().length > 0
  worker.mayTake = asides.mayTake
  worker.on("error", (error) => logError(error, "queue failed"))
  // Told by the worker that has just moved the job, from the answer of the script that did it.
  worker.on("stalled", (jobId) => {
    observe(() => options.observe.stalled?.(jobId))
    returnStalled(connection, queue, jobId).catch((error) => logError(error, "job could not be moved"))
  })
  worker.run().catch((error: unknown) => logError(error, "queue failed"))

  /** BullMQ's processor. Returning completes the job, and an exception says what else happens to it. */
  async function process(job: Job, token = ""): Promise<Result> {
    const startedAt = performance.now()
    const jobId = job.id ?? ""
    // The setting of this worker, not that of the ingest that added the job.
    Object.assign(job.opts, { attempts, ...JOB_OPTIONS })
    // BullMQ counts it up in Redis, with a command that fails halfway through its script if this is not a number.
    if (!Number.isInteger(job.attemptsMade)) {
      job.attemptsMade = 0
      await connection.hset(queueKey(queue, jobId), "atm", 0)
    }
    const abort = new AbortController()
    const givenUp = Promise.withResolvers<never>()
    givenUp.promise.catch(() => {})
    const self: ActiveRun = { abort, giveUp: () => givenUp.reject(new ShutdownReason()) }
    active.add(self)
    if (closing) abort.abort(new ShutdownReason())
    const watched = watchdog.watch(`job ${jobId}`, (reason) => {
      observe(() => options.observe.stuck?.(jobId, reason))
      abort.abort(reason)
    })
    const lock = holdLock({
      lockMs,
      acquiredAt: performance.now() - Math.max(0, Date.now() - (job.processedOn ?? Date.now())),
      extend: async () => (await job.extendLock(token, lockMs)) === 1,
      renews: renewsByRun,
      onRenewed: progressed,
      onLost: (reason) => abort.abort(reason),
      onError: (error) => logError(error, "lock renewal failed"),
    })
    try {
      const run = await runner.runOnce(job, token, lock, abort, givenUp.promise, watched.progress)
      watched.end()
      const attempt = job.attemptsMade + 1
      const durationMs = performance.now() - startedAt
      observe(() =>
        options.observe.ended({ ...run, jobId, attempt, starts: job.attemptsStarted, durationMs }),
      )
      return await applyEnding<Result>(job, token, run.ending, {
        lockRefused: lock.refused,
        async putBackInLine() {
          if (run.payload)
            await renewStartTag({ connection, queue }, jobId, run.payload, run.ending.kind === "waiting")
        },
        handBack: () => handBack(connection, queue, jobId, token),
        onError: (error) => logError(error, "job could not be moved"),
      })
    } finally {
      watched.end()
      lock.release()
      active.delete(self)
      progressed()
    }
  }

  function observe(tell: () => void): void {
    try {
      tell()
    } catch (error) {
      logError(error, "observer failed")
    }
  }

  async function close(): Promise<void> {
    suspensions.close()
    const closed = worker.close()
    for (const run of active) run.abort.abort(new ShutdownReason())
    const grace = setTimeout(() => {
      for (const run of active) run.giveUp()
    }, GRACE_MS)
    const late = () => new Error(`not closed after ${CLOSE_MS} ms`)
    await withDeadline(closed, CLOSE_MS, late).catch((error) => {
      logError(error, "queue connections were cut")
      worker
        .getBackend()
        .close(true)
        .catch(() => {})
    })
    clearTimeout(grace)
    watchdog.close()
    freezes.close()
    connection.disconnect()
  }

  return {
    get lastProgressAt() {
      return lastProgressAt
    },
    get lastTrouble() {
      return lastTrouble
    },
    get active() {
      return active.size
    },
    get activeBulk() {
      return worker.bulkSlots.used
    },
    idleMs: watchdog.idleMs,
    asides: asides.list,
    close() {
      closing ??= close()
      return closing
    },
  }
}
