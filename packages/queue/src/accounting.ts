/**
 * The accounts of a queue: every archive that was accepted is committed, a dead letter, live, or discarded.
 *
 *     accepted = committed + dead letters + live + discarded
 *
 * - **accepted**: jobs that were added, each once: a callback that finds its job in the queue adds nothing and is not
 *   counted, and a job that is added again after it ended and was forgotten is accepted, and committed, once more.
 * - **committed**: jobs that were completed: their plaintext is at its destination, was there already, or is empty.
 * - **dead letters**: jobs that were given up and not redriven. Redriving moves one back to live, and is no acceptance.
 * - **live**: jobs that wait, run, are delayed or prioritized.
 * - **discarded**: dead letters that an operator removed by `unseal queue discard`.
 *
 * Each step between them is one transaction or one script in Redis, with its counter in it, and all are read in one
 * transaction: the identity holds at every moment, whoever is killed. An attempt, a hand-back, a stall or a lost lock moves a
 * job within live. What breaks it is what it is there to find: a job that was removed by hand, or lost by Redis.
 */
import type { RedisClient } from "./client.ts"
import { countersKey, queueKey } from "./names.ts"

/** What `readAccounts` tells; the words are defined at the top of accounting.ts. */
export interface Accounts {
  readonly accepted: number
  readonly committed: number
  readonly deadLetters: number
  readonly live: number
  readonly discarded: number
  /** Accepted archives that are nowhere: 0, unless a job was removed by hand or lost. Below 0, jobs that nobody counted. */
  readonly missing: number
}

/** A day of points, one a minute: what BullMQ's own counter of completed jobs keeps beside the count itself. */
export const COMPLETED_METRICS = { maxDataPoints: 24 * 60 }

/** The accounts as they are now. One round trip, whatever the queue's length. */
export async function readAccounts(connection: RedisClient, queue: string): Promise<Accounts> {
  const key = (type: string) => queueKey(queue, type)
  const reading = connection.multi()
  reading.hget(countersKey(queue), "accepted")
  reading.hget(countersKey(queue), "discarded")
  reading.hget(key("metrics:completed"), "count")
  reading.zcard(key("failed"))
  for (const list of ["wait", "active", "paused"]) reading.llen(key(list))
  for (const set of ["prioritized", "delayed"]) reading.zcard(key(set))
  const answers = ((await reading.exec()) ?? []).map(([error, answer]) => {
    if (error) throw error
    return answer
  })
  const [accepted = 0, discarded = 0, committed = 0, deadLetters = 0, ...places] = answers.map(Number)
  const live = places.reduce((sum, count) => sum + count, 0)
  const missing = accepted - committed - deadLetters - live - discarded
  return { accepted, committed, deadLetters, live, discarded, missing }
}
