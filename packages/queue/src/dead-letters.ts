import { Queue } from "bullmq"
import type { RedisClient } from "./client.ts"
import { codeOf, type FailureCode } from "./ending.ts"
import { JOB_OPTIONS } from "./job-options.ts"
import { lineUp } from "./line-up.ts"
import { checkpointKey, countersKey, queueKey, queuePrefix } from "./names.ts"
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
  /** Its payload is lost: it can't be redriven. The next callback for the archive takes its place. */
  readonly damaged?: true
}

export interface DeadLetterCounts {
  readonly total: number
  /** Of the `counted` newest. */
  readonly byCode: ReadonlyMap<FailureCode, number>
  readonly counted: number
}

/** This dead letter can't be redriven, until somebody has mended what the message names; others can. */
export class RedriveError extends Error {
  override readonly name = "RedriveError"
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
   * `null` if there is no such dead letter; `RedriveError` if its payload is lost, or that of the job that it would become.
   */
  redrive(jobId: string): Promise<{ jobId: string } | null>
  /**
   * Removes the dead letter with its checkpoint for good, also a damaged one, and counts it as discarded, in one script: its upload
   * is the janitor's from then on, and a callback that comes for its archive is accepted anew. False if there is no such dead letter.
   */
  discard(jobId: string): Promise<boolean>
  close(): Promise<void>
}

const PAGE = 500

/** KEYS: dead letters, job, checkpoint, counters. ARGV: id. */
const DISCARD = `
if redis.call("ZREM", KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call("DEL", KEYS[2], KEYS[2] .. ":logs", KEYS[2] .. ":lock", KEYS[3])
redis.call("HINCRBY", KEYS[4], "discarded", 1)
return 1`

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
      const ids = await connection.zrevrange(failed, offset, offset + limit - 1)
      if (ids.length === 0) return []
      // Field by field, as what is damaged must not hide what is not: BullMQ reads all of a job or throws.
      const reading = connection.pipeline()
      for (const id of ids) reading.hmget(queueKey(name, id), ...FIELDS)
      return ((await reading.exec()) ?? []).map(([error, fields], index) =>
        deadLetterOf(ids[index]!, error ? [] : (fields as (string | null)[])),
      )
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
      // In this order: what is discarded meanwhile has not lost its payload.
      const payload = parsed(await connection.hget(queueKey(name, jobId), "data"))
      const isDead = (await connection.zscore(failed, jobId)) !== null
      if (!isDead) return null
      if (payload === null)
        throw new RedriveError(`${jobId} has lost its payload in redis and can't be redriven`)
      const next = redriveIdOf(jobId)
      const options = { jobId: next, ...JOB_OPTIONS }
      const [linedUp] = await lineUp(connection, queue, [{ payload, options }], jobId)
      if (linedUp === undefined) return null
      if (linedUp === "empty")
        throw new RedriveError(
          `${jobId} can't be redriven: ${next}, which it would become, has lost its payload in redis`,
        )
      return { jobId: next }
    },

    async discard(jobId) {
      const keys = [failed, queueKey(name, jobId), checkpointKey(name, jobId), countersKey(name)]
      return (await connection.eval(DISCARD, keys.length, ...keys, jobId)) === 1
    },

    close: () => queue.close(),
  }
}

const FIELDS = ["data", "failedReason", "atm", "timestamp", "finishedOn"] as const

/** The object in `data`; `null` if there is none, or it is not JSON. */
function parsed(data: string | null | undefined): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(data ?? "null")
    return typeof value === "object" ? (value as Record<string, unknown> | null) : null
  } catch {
    return null
  }
}

/** Field by field: the encrypted password stays where it is. What is lost of a damaged one is what its id tells, and the beginning of time. */
function deadLetterOf(jobId: string, fields: readonly (string | null | undefined)[]): DeadLetter {
  const [data, failedReason, attempts, timestamp, finishedOn] = fields
  const payload = parsed(data)
  const text = (value: unknown, otherwise = "") => (typeof value === "string" ? value : otherwise)
  const time = (...candidates: (string | null | undefined)[]) => {
    const found = candidates
      .map((text) => Number(text ?? Number.NaN))
      .find((number) => Math.abs(number) < 8.64e15)
    return new Date(found ?? 0).toISOString()
  }
  const [projectId, archiveId] = jobId.split("_")
  const isWhole = payload !== null && !!failedReason && Number(timestamp ?? Number.NaN) > 0
  const reason = failedReason || "ERR_JOB_INVALID: the reason is lost"
  return {
    jobId,
    projectId: text(payload?.projectId, projectId),
    archiveId: text(payload?.archiveId, archiveId),
    code: codeOf(reason),
    reason: isWhole ? reason : `${reason} (damaged in redis)`,
    attempts: Number.parseInt(attempts ?? "", 10) || 0,
    addedAt: time(timestamp, finishedOn),
    failedAt: time(finishedOn, timestamp),
    ...(payload === null && { damaged: true as const }),
  }
}
