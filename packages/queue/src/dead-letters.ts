import { type Job, Queue } from "bullmq"
import type { RedisClient } from "./client.ts"
import { codeOf, type FailureCode } from "./ending.ts"
import { lineUp } from "./line-up.ts"
import { queueKey, queuePrefix } from "./names.ts"
import { redriveIdOf } from "./redrive-id.ts"

/** A job that was given up. */
export interface DeadLetter {
  readonly jobId: string
  readonly projectId: string
  readonly archiveId: string
  readonly code: FailureCode
  /** `CODE: message` of its last attempt. */
  readonly reason: string
  readonly attempts: number
  /** ISO 8601, as `failedAt`. */
  readonly addedAt: string
  readonly failedAt: string
}

export interface DeadLetterCounts {
  readonly total: number
  /** Of the `counted` newest. */
  readonly byCode: ReadonlyMap<FailureCode, number>
  readonly counted: number
}

/** The jobs that were given up. Nothing here reads more than it is asked for. */
export interface DeadLetters {
  /** From the newest on. `limit` is 1 to 1000, 100 if it is not given. */
  list(page?: { offset?: number; limit?: number }): Promise<DeadLetter[]>
  /** Looks at the `limit` newest: 2000 if it is not given. */
  count(limit?: number): Promise<DeadLetterCounts>
  /**
   * Puts the job into the queue again under a new id, with all its counters at their beginning (BullMQ's own retry keeps the
   * count of stalls), and removes the dead letter, in one script. Done twice at once, it comes to the same.
   * `null` if there is no such dead letter.
   */
  redrive(jobId: string): Promise<{ jobId: string } | null>
  close(): Promise<void>
}

const PAGE = 500

/** The dead letters of a queue. `connection` is not closed. */
export function openDeadLetters(options: { connection: RedisClient; queue: string }): DeadLetters {
  const { connection, queue: name } = options
  const queue = new Queue(name, { connection, prefix: queuePrefix(name), skipVersionCheck: true })
  // Whoever called sees the command fail.
  queue.on("error", () => {})
  const failed = queueKey(name, "failed")

  return {
    async list({ offset = 0, limit = 100 } = {}) {
      if (!Number.isInteger(offset) || offset < 0) throw new RangeError(`offset ${offset} is not 0 or more`)
      if (!Number.isInteger(limit) || limit < 1 || limit > 1_000)
        throw new RangeError(`limit ${limit} is not between 1 and 1000`)
      const jobs = await queue.getJobs(["failed"], offset, offset + limit - 1, false)
      return jobs.map(deadLetterOf)
    },

    async count(limit = 2_000) {
      const byCode = new Map<FailureCode, number>()
      let counted = 0
      while (counted < limit) {
        const ids = await connection.zrevrange(failed, counted, Math.min(limit, counted + PAGE) - 1)
        if (ids.length === 0) break
        const reading = connection.pipeline()
        for (const id of ids) reading.hget(queueKey(name, id), "failedReason")
        for (const [error, reason] of (await reading.exec()) ?? []) {
          if (error) throw error
          const code = codeOf((reason as string | null) ?? undefined)
          byCode.set(code, (byCode.get(code) ?? 0) + 1)
        }
        counted += ids.length
      }
      return { total: await connection.zcard(failed), byCode, counted }
    },

    async redrive(jobId) {
      const job = await queue.getJob(jobId)
      if (!job || !(await job.isFailed())) return null
      const next = redriveIdOf(jobId)
      const { attempts, backoff, removeOnComplete, removeOnFail, stackTraceLimit } = job.opts
      const options = {
        jobId: next,
        ...withoutUndefined({ attempts, backoff, removeOnComplete, removeOnFail, stackTraceLimit }),
      }
      const [linedUp] = await lineUp(connection, queue, [{ payload: job.data ?? {}, options }], jobId)
      if (linedUp === "empty") throw new Error(`job ${next} has lost its payload in redis; remove it`)
      return { jobId: next }
    },

    close: () => queue.close(),
  }
}

function withoutUndefined<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never
}

/** Field by field: the encrypted password stays where it is. */
function deadLetterOf(job: Job): DeadLetter {
  const text = (value: unknown) => (typeof value === "string" ? value : "")
  const data = (job.data ?? {}) as { projectId?: unknown; archiveId?: unknown }
  return {
    jobId: job.id ?? "",
    projectId: text(data.projectId),
    archiveId: text(data.archiveId),
    code: codeOf(job.failedReason),
    reason: job.failedReason ?? "",
    attempts: job.attemptsMade,
    addedAt: new Date(job.timestamp).toISOString(),
    failedAt: new Date(job.finishedOn ?? job.timestamp).toISOString(),
  }
}
