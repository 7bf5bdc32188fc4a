import { withDeadline } from "@unseal/archive/waiting"
import { Queue } from "bullmq"
import { type JobPayload, jobIdOf } from "../jobs/job.ts"
import { queuePrefix } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import { createErrorLog, type QueueLogger } from "../redis/error-log.ts"
import { watchMemory } from "../redis/server.ts"
import { batched } from "./batch.ts"
import { type AddedJob, addJobs, type NewJob } from "./enqueue-script.ts"
import { JOB_OPTIONS } from "./job-options.ts"
import { createReplicaWait, ReplicasMissingError } from "./replicated.ts"
import { carrying, contextIn, type SendTracer } from "./trace.ts"

/** A job that may not be in the queue. Answer 503, so that the sender tries again. The message holds no secret. */
export class QueueUnavailableError extends Error {
  override readonly name = "QueueUnavailableError"
}

export interface ProducerOptions {
  /** With `enableOfflineQueue: false`, so that nothing piles up while Redis is away. The producer does not close it. */
  readonly connection: RedisClient
  /** The queue's name. */
  readonly queue: string
  /** How long `enqueue` may take. Default 2000. */
  readonly deadlineMs?: number
  /** How many jobs may wait for an answer of Redis. More are refused at once. Default 1000. */
  readonly pendingLimit?: number
  /**
   * How many replicas of Redis must have a job before `enqueue` resolves. Default 0: then a failover may lose a job that was
   * acknowledged just before.
   */
  readonly replicas?: number
  /** The share of Redis' maxmemory above which jobs are refused. Default `NEARLY_FULL`. */
  readonly fullAt?: number
  /** Whether the jobs come from callbacks that have just arrived, as at ingest. Default `false`. */
  readonly areCallbacks?: boolean
  /** Only for the test that shows why the id holds a hash of the password. Default: `jobIdOf` of job.ts. */
  readonly jobIdOf?: (payload: JobPayload) => string
  /** Surrounds each enqueueing, and gives the job its trace. Without it, a job carries the context of its payload. */
  readonly trace?: SendTracer | undefined
  readonly logger?: QueueLogger
}

export interface Enqueued {
  /** `duplicate`: the queue holds this job from another callback, in whatever state. */
  readonly outcome: "enqueued" | "duplicate"
  readonly jobId: string
}

/** Puts jobs into the queue. */
export interface Producer {
  /**
   * Resolves when Redis has the job, and as many replicas as were asked for have it, too. Among any number of calls for one job, in
   * any number of processes, exactly one is `enqueued`. A second call with the same payload has the same result as the first.
   * Rejects with `QueueUnavailableError` within the deadline if the result is unknown. Then the job may be in the queue, and
   * repeating the call is harmless. `jobId` replaces the
   * payload's own id, for a job that must be done once more (find-job.ts).
   */
  enqueue(payload: JobPayload, jobId?: string): Promise<Enqueued>
  close(): Promise<void>
}

interface LiveQueue {
  readonly queue: Queue<JobPayload>
  /**
   * Adds a job, together with all others of this turn of the event loop, as `addJobs` does: a command costs the client more than a
   * job in it does (`npm run bench -- --chapter ingest`).
   */
  add(job: NewJob): Promise<AddedJob>
}

/** Creates a producer. It waits for nothing: while Redis is away it refuses, and works as soon as Redis is back. */
export function createProducer(options: ProducerOptions): Producer {
  const { connection, queue: name, deadlineMs = 2_000, pendingLimit = 1_000, areCallbacks = false } = options
  const logError = createErrorLog(options.logger)
  const reasonNotToAdd = watchMemory(connection, name, options.logger, options.fullAt)
  const replicated =
    options.replicas && createReplicaWait({ connection, queue: name, replicas: options.replicas })
  let live: LiveQueue | undefined
  let closed = false
  let pending = 0

  const tooLate = () => new QueueUnavailableError(`redis did not acknowledge the job within ${deadlineMs} ms`)

  /** Creates BullMQ's queue only on a live connection. One that is created on a dead one may never recover. */
  async function liveQueue(): Promise<LiveQueue> {
    if (connection.status !== "ready") await withDeadline(untilReady(connection), deadlineMs, tooLate)
    if (!live) {
      const queue = new Queue<JobPayload>(name, {
        connection,
        prefix: queuePrefix(name),
        // Its INFO would be one more command that can fail for good while connecting.
        skipVersionCheck: true,
      })
      queue.on("error", (error) => logError(error, "queue connection failed"))
      live = { queue, add: batched((jobs) => addJobs(connection, queue, jobs, { areCallbacks })) }
    }
    return live
  }

  async function add(payload: JobPayload, jobId: string, isLate: () => boolean): Promise<Enqueued> {
    const { add } = await liveQueue()
    const full = await reasonNotToAdd()
    if (full !== null) throw new QueueUnavailableError(full)
    // By now the caller has its answer.
    if (isLate()) throw tooLate()
    const added = await add({ payload, options: { ...JOB_OPTIONS, jobId } })
    // Calling it a duplicate would lose the recording.
    if (added === "empty")
      throw new QueueUnavailableError(`job ${jobId} has lost its payload in redis; remove it`)
    // A duplicate as well: its first callback may have been refused because replicas were missing.
    if (replicated) await replicated.until(jobId)
    return { outcome: added === "this" ? "enqueued" : "duplicate", jobId }
  }

  async function enqueue(payload: JobPayload, jobId: string): Promise<Enqueued> {
    if (closed) throw new QueueUnavailableError("the producer is closed")
    // A frozen Redis neither answers nor refuses, so the number of waiting jobs must be bounded.
    if (pending >= pendingLimit)
      throw new QueueUnavailableError(`${pending} jobs are waiting to be added, and redis does not answer`)
    pending++
    let late = false
    const work = add(payload, jobId, () => late).finally(() => pending--)
    const giveUp = () => {
      late = true
      return tooLate()
    }
    try {
      return await withDeadline(work, deadlineMs, giveUp)
    } catch (error) {
      if (error instanceof QueueUnavailableError) throw error
      if (error instanceof ReplicasMissingError) throw new QueueUnavailableError(error.message)
      throw new QueueUnavailableError(`redis refused the job: ${reasonOf(error)}`)
    }
  }

  return {
    enqueue(payload, jobId = (options.jobIdOf ?? jobIdOf)(payload)) {
      const { trace } = options
      if (trace === undefined) return enqueue(payload, jobId)
      const { projectId, archiveId } = payload
      const parent = contextIn(payload)
      const job = { jobId, projectId, archiveId, ...(parent && { parent }) }
      return trace(job, (context) => enqueue(carrying(payload, context), jobId))
    },
    async close() {
      closed = true
      if (replicated) replicated.close()
      await withDeadline(live?.queue.close() ?? Promise.resolve(), 1_000, () => new Error("timeout")).catch(
        () => {},
      )
    },
  }
}

const waiting = new WeakMap<RedisClient, Promise<void>>()

/** Resolves when `connection` is usable. All waiting calls share one listener. */
function untilReady(connection: RedisClient): Promise<void> {
  if (connection.status === "ready") return Promise.resolve()
  if (connection.status === "end")
    return Promise.reject(new QueueUnavailableError("the connection is closed"))
  if (connection.status === "wait") connection.connect().catch(() => {})
  const shared =
    waiting.get(connection) ??
    new Promise<void>((resolve) => {
      connection.once("ready", () => {
        waiting.delete(connection)
        resolve()
      })
    })
  waiting.set(connection, shared)
  return shared
}

/** The class of an error without its text, which may quote a command's arguments. */
function reasonOf(error: unknown): string {
  const { code, name, message } = error as { code?: unknown; name?: unknown; message?: unknown }
  return String(
    code ?? String(message).match(/^[A-Z]{3,}\b/)?.[0] ?? (name === "Error" ? "connection failed" : name),
  )
}
