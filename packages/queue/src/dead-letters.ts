import { Queue } from "bullmq"
import type { RedisClient } from "./client.ts"
import {
  countDeadLetters,
  type DeadLetter,
  type DeadLetterFilter,
  type DeadLetterPage,
  listDeadLetters,
  payloadIn,
} from "./dead-letter-list.ts"
import type { FailureCode } from "./ending.ts"
import { addJobs } from "./enqueue-script.ts"
import { JOB_OPTIONS } from "./job-options.ts"
import { checkpointKey, countersKey, queueKey, queuePrefix } from "./names.ts"
import { redriveIdOf } from "./redrive-id.ts"

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

/** Why a damaged dead letter can't be redriven. */
export const payloadLost = (jobId: string): RedriveError =>
  new RedriveError(`${jobId} has lost its payload in redis and can't be redriven`)

/** The jobs that were given up. Nothing here reads more than it is asked for. */
export interface DeadLetters {
  /** As `listDeadLetters`. */
  list(query?: DeadLetterFilter & DeadLetterPage): Promise<DeadLetter[]>
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
    list: (query) => listDeadLetters(connection, name, query),

    async count(limit = 2_000) {
      const byCode = await countDeadLetters(connection, name, limit)
      const counted = byCode.values().reduce((sum, count) => sum + count, 0)
      return { total: await connection.zcard(failed), byCode, counted }
    },

    async redrive(jobId) {
      // In this order: what is discarded meanwhile has not lost its payload.
      const payload = payloadIn(await connection.hget(queueKey(name, jobId), "data"))
      const isDead = (await connection.zscore(failed, jobId)) !== null
      if (!isDead) return null
      if (payload === null) throw payloadLost(jobId)
      const next = redriveIdOf(jobId)
      const options = { jobId: next, ...JOB_OPTIONS }
      const [added] = await addJobs(connection, queue, [{ payload, options }], jobId)
      if (added === undefined) return null
      if (added === "empty")
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
