/**
 * The accounts of a queue: every accepted archive is committed, a dead letter, live, or discarded.
 *
 *     accepted = committed + dead letters + live + discarded
 *
 * - **accepted**: jobs that were added, each once. A callback that finds its job in the queue adds nothing and is not counted.
 *   A job that is added again after it ended and was forgotten counts as accepted, and later as committed, once more.
 * - **committed**: jobs that were completed. Their plaintext is at its destination, was already there, or is empty.
 * - **dead letters**: jobs that were given up and not redriven. Redriving moves one back to live, and does not count as accepted.
 * - **live**: jobs that wait, run, are delayed or prioritized.
 * - **discarded**: dead letters that an operator removed with `unseal queue discard`.
 *
 * Each move between them is one transaction or one script in Redis, including its counter, and all are read in one
 * transaction. So the equation always holds, whichever process is killed. An attempt, a hand-back, a stall or a lost lock moves
 * a job only within live. The equation fails only for what it should reveal: a job removed by hand, or lost by Redis.
 */

import { countersKey, queueKey } from "./names.ts"
import type { RedisClient } from "./redis/client.ts"
import { readTogether } from "./redis/read-together.ts"

/** The result of `readAccounts`. The top of accounting.ts defines the words. */
export interface Accounts {
  readonly accepted: number
  readonly committed: number
  readonly deadLetters: number
  readonly live: number
  readonly discarded: number
  /** Accepted archives that are nowhere. 0, unless jobs were removed by hand or lost. Below 0: jobs that were never counted. */
  readonly missing: number
}

/** A day of points, one per minute: what BullMQ's counter of completed jobs keeps in addition to the count. */
export const COMPLETED_METRICS = { maxDataPoints: 24 * 60 }

/** The current accounts. One round trip, whatever the queue's length. */
export async function readAccounts(connection: RedisClient, queue: string): Promise<Accounts> {
  const key = (type: string) => queueKey(queue, type)
  const [accepted = 0, discarded = 0, committed = 0, deadLetters = 0, ...places] = await readTogether(
    connection,
    [
      ["hget", countersKey(queue), "accepted"],
      ["hget", countersKey(queue), "discarded"],
      ["hget", key("metrics:completed"), "count"],
      ["zcard", key("failed")],
      ...["wait", "active", "paused"].map((list) => ["llen", key(list)] as const),
      ...["prioritized", "delayed"].map((set) => ["zcard", key(set)] as const),
    ],
  )
  const live = places.reduce((sum, count) => sum + count, 0)
  const missing = accepted - committed - deadLetters - live - discarded
  return { accepted, committed, deadLetters, live, discarded, missing }
}
