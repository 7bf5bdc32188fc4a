import { Queue } from "bullmq"
import { addJobs } from "../enqueue/enqueue-script.ts"
import { JOB_OPTIONS } from "../enqueue/job-options.ts"
import { contextIn, redriven, type SendTracer, type TraceContext } from "../enqueue/trace.ts"
import { inLane, type Lane, laneOf } from "../jobs/lane.ts"
import { firstIdOf, redriveIdOf } from "../jobs/redrive-id.ts"
import { checkpointKey, countersKey, discardedKey, queueKey, queuePrefix } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import type { FailureCode } from "../run/ending.ts"
import { DISCARDED_DAYS } from "./discarded.ts"
import {
  countDeadLetters,
  type DeadLetter,
  type DeadLetterFilter,
  type DeadLetterPage,
  listDeadLetters,
  payloadIn,
  subjectOf,
} from "./list.ts"

export interface DeadLetterCounts {
  readonly total: number
  /** Among the `counted` newest. */
  readonly byCode: ReadonlyMap<FailureCode, number>
  readonly counted: number
}

/** This dead letter can't be redriven until somebody has fixed what the message names. Others can. */
export class RedriveError extends Error {
  override readonly name = "RedriveError"
}

/** Why a damaged dead letter can't be redriven. */
export const payloadLost = (jobId: string): RedriveError =>
  new RedriveError(`${jobId} has lost its payload in redis and can't be redriven`)

/** The dead letters of a queue. No method reads more than it needs. */
export interface DeadLetters {
  /** Like `listDeadLetters`. */
  list(query?: DeadLetterFilter & DeadLetterPage): Promise<DeadLetter[]>
  /** Looks at the `limit` newest. Default 2000. */
  count(limit?: number): Promise<DeadLetterCounts>
  /**
   * Puts the job back into the queue under a new id with fresh counters (BullMQ's own retry keeps the count of stalls), and removes
   * the dead letter, in one script. It goes into `lane`, or into the one that it had. Repeating it has the same result. Resolves to `null` if there is no such dead letter. Throws
   * `RedriveError` if its payload is lost, or that of the job that it would become.
   */
  redrive(jobId: string, lane?: Lane): Promise<{ jobId: string } | null>
  /**
   * Removes a dead letter, damaged or not, and its checkpoint for good, and counts it as discarded, in one script. From then on the
   * janitor may remove its upload, and a callback for its archive is accepted anew; a reconciler leaves the archive alone
   * (discarded.ts). `false` if there is no such dead letter.
   */
  discard(jobId: string): Promise<boolean>
  close(): Promise<void>
}

/** KEYS: dead letters, job, checkpoint, counters, discarded. ARGV: id, id before any redrive, seconds that it is remembered. */
const DISCARD = `
if redis.call("ZREM", KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call("DEL", KEYS[2], KEYS[2] .. ":logs", KEYS[2] .. ":lock", KEYS[3])
redis.call("HINCRBY", KEYS[4], "discarded", 1)
local now = tonumber(redis.call("TIME")[1])
redis.call("ZADD", KEYS[5], now, ARGV[2])
redis.call("ZREMRANGEBYSCORE", KEYS[5], "-inf", now - ARGV[3])
return 1`

/** Opens the dead letters of a queue. Does not close `connection`. `trace` surrounds each redrive, and gives the job its trace. */
export function openDeadLetters(options: {
  readonly connection: RedisClient
  readonly queue: string
  readonly trace?: SendTracer | undefined
}): DeadLetters {
  const { connection, queue: name, trace } = options
  const queue = new Queue(name, { connection, prefix: queuePrefix(name), skipVersionCheck: true })
  // The caller sees the command fail.
  queue.on("error", () => {})
  const failed = queueKey(name, "failed")

  async function replace(
    jobId: string,
    next: string,
    payload: Readonly<Record<string, unknown>>,
    context?: TraceContext,
  ): Promise<{ jobId: string } | null> {
    const job = { ...redriven(payload), ...context }
    const options = { jobId: next, ...JOB_OPTIONS }
    const [added] = await addJobs(connection, queue, [{ payload: job, options }], { replaced: jobId })
    if (added === undefined) return null
    if (added === "empty")
      throw new RedriveError(
        `${jobId} can't be redriven: ${next}, which it would become, has lost its payload in redis`,
      )
    return { jobId: next }
  }

  return {
    list: (query) => listDeadLetters(connection, name, query),

    async count(limit = 2_000) {
      const byCode = await countDeadLetters(connection, name, limit)
      const counted = byCode.values().reduce((sum, count) => sum + count, 0)
      return { total: await connection.zcard(failed), byCode, counted }
    },

    async redrive(jobId, lane) {
      // Read in this order, so that a dead letter discarded in between does not count as one without a payload.
      const held = payloadIn(await connection.hget(queueKey(name, jobId), "data"))
      const isDead = (await connection.zscore(failed, jobId)) !== null
      if (!isDead) return null
      if (held === null) throw payloadLost(jobId)
      const payload: Readonly<Record<string, unknown>> = inLane(held, lane ?? laneOf(held))
      const next = redriveIdOf(jobId)
      if (trace === undefined) return replace(jobId, next, payload)
      const link = contextIn(payload)
      const job = { ...subjectOf(jobId), jobId: next, ...(link && { link }) }
      return trace(job, (context) => replace(jobId, next, payload, context))
    },

    async discard(jobId) {
      const job = [queueKey(name, jobId), checkpointKey(name, jobId)]
      const keys = [failed, ...job, countersKey(name), discardedKey(name)]
      const given = [jobId, firstIdOf(jobId), DISCARDED_DAYS * 86_400]
      return (await connection.eval(DISCARD, keys.length, ...keys, ...given)) === 1
    },

    close: () => queue.close(),
  }
}
