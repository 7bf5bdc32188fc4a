/** What a callback duplicates, for its sender and the log. */

import { withDeadline } from "@unseal/archive/waiting"
import { findJob } from "../jobs/find-job.ts"
import { queueKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"

export interface DuplicateOf {
  /** `committed`, within the last hour · `dead`: a dead letter · `live`: it waits, runs or is delayed. */
  readonly state: "committed" | "dead" | "live"
  /** ISO 8601: when it was committed, died, or was accepted. */
  readonly since: string
}

const STATES = { completed: "committed", dead: "dead", live: "live" } as const

/**
 * The job `jobId`, or the one that it was redriven as. `null` if there is none, or if Redis does not answer within `deadlineMs`:
 * the callback is durable anyway, and its answer does not wait for details.
 */
export async function findDuplicateOf(
  connection: RedisClient,
  queue: string,
  jobId: string,
  deadlineMs: number,
): Promise<DuplicateOf | null> {
  try {
    return await withDeadline(look(connection, queue, jobId), deadlineMs, () => new Error("too late"))
  } catch {
    return null
  }
}

async function look(connection: RedisClient, queue: string, first: string): Promise<DuplicateOf | null> {
  const found = await findJob(connection, queue, first)
  if (found === null) return null
  const [added, finished] = await connection.hmget(queueKey(queue, found.jobId), "timestamp", "finishedOn")
  const ms = Number((found.state === "live" ? null : finished) ?? added ?? Number.NaN)
  if (!(ms > 0 && ms < 8.64e15)) return null
  return { state: STATES[found.state], since: new Date(ms).toISOString() }
}
