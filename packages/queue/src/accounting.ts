/**
 * The books of a queue: every archive that was accepted is committed, a dead letter, or live.
 *
 *     accepted = committed + dead letters + live
 *
 * - **accepted**: jobs that were added, each once: a callback that finds its job in the queue adds nothing and is not
 *   counted, and a job that is added again after it ended and was forgotten is accepted, and committed, once more.
 * - **committed**: jobs that were completed: their plaintext is at its destination, was there already, or is empty.
 * - **dead letters**: jobs that were given up and not redriven. Redriving moves one back to live, and is no acceptance.
 * - **live**: jobs that wait, run, are delayed or prioritized.
 *
 * Each step between the four is one transaction or one script in Redis, with its counter in it, and the four are read in one
 * transaction: the identity holds at every moment, whoever is killed. An attempt, a hand-back, a stall or a lost lock moves a
 * job within live. What breaks it is what it is there to find: a job that was removed by hand, or lost by Redis.
 */
import type { Queue } from "bullmq"
import type { Redis } from "ioredis"
import { lineUp, type NewJob } from "./line-up.ts"
import { checkpointKey, countersKey, queueKey } from "./names.ts"
import { transact } from "./transact.ts"

/** What `readAccounts` tells; the words are defined at the top of accounting.ts. */
export interface Accounts {
  readonly accepted: number
  readonly committed: number
  readonly deadLetters: number
  readonly live: number
  /** Accepted archives that are nowhere: 0, unless a job was removed by hand or lost. Below 0, jobs that nobody counted. */
  readonly missing: number
}

/** A day of points, one a minute: what BullMQ's own counter of completed jobs keeps beside the count itself. */
export const COMPLETED_METRICS = { maxDataPoints: 24 * 60 }

/**
 * Adds jobs, each at its project's turn, and counts them, all or none; one that is there already stays as it is, is not counted,
 * and costs its project nothing. Resolves to whether the job that is in the queue then is this one, for each.
 */
export async function addAccepted(
  connection: Redis,
  queue: Queue,
  jobs: readonly NewJob[],
): Promise<boolean[]> {
  const send = await lineUp(connection, queue, jobs, true)
  const answers = (await send(connection)) as number[]
  return answers.map((answer) => answer === 1)
}

/**
 * Makes the dead letter `from` a live job, `to`, in one transaction, its checkpoint included. Harmless if somebody else does
 * the same: one job comes of it.
 */
export async function replaceDeadLetter(
  connection: Redis,
  queue: Queue,
  from: string,
  to: NewJob,
): Promise<void> {
  const { name } = queue
  const send = await lineUp(connection, queue, [to], false)
  await transact(connection, (transaction) => {
    // Before the job can start: what is written already need not be written again.
    transaction.copy(checkpointKey(name, from), checkpointKey(name, to.options.jobId))
    send(transaction)
    transaction.zrem(queueKey(name, "failed"), from)
    transaction.del(queueKey(name, from), queueKey(name, `${from}:logs`), checkpointKey(name, from))
  })
}

/** The books as they are now. One round trip, whatever the queue's length. */
export async function readAccounts(connection: Redis, queue: string): Promise<Accounts> {
  const key = (type: string) => queueKey(queue, type)
  const answers = await transact(connection, (transaction) => {
    transaction.hget(countersKey(queue), "accepted")
    transaction.hget(key("metrics:completed"), "count")
    transaction.zcard(key("failed"))
    for (const list of ["wait", "active", "paused"]) transaction.llen(key(list))
    for (const set of ["prioritized", "delayed"]) transaction.zcard(key(set))
  })
  const [accepted = 0, committed = 0, deadLetters = 0, ...places] = answers.map(Number)
  const live = places.reduce((sum, count) => sum + count, 0)
  return { accepted, committed, deadLetters, live, missing: accepted - committed - deadLetters - live }
}
