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
import { Job, type JobsOptions, type Queue } from "bullmq"
import type { ChainableCommander, Redis } from "ioredis"
import { checkpointKey, countersKey, JOB_NAME, queueKey } from "./names.ts"
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

/** KEYS: job, counters. ARGV: 1 if this is an acceptance. Gives the data of the job that is there, if one is. */
const COUNT = `
if redis.call("EXISTS", KEYS[1]) == 0 then return nil end
if redis.call("HSETNX", KEYS[1], "counted", 1) == 1 and ARGV[1] == "1" then
  redis.call("HINCRBY", KEYS[2], "accepted", 1)
end
return redis.call("HGET", KEYS[1], "data")`

/** A job to be added: its payload, and BullMQ's options with its id. */
export interface NewJob {
  readonly data: unknown
  readonly options: JobsOptions & { readonly jobId: string }
}

/**
 * Adds jobs and counts them, in one transaction; one that is there already stays as it is and is not counted. Resolves to
 * the data of the job that is in the queue then, for each: the new one's, or that of an earlier one. `null` only if it is
 * gone again.
 */
export async function addAccepted(
  connection: Redis,
  queue: Queue,
  jobs: readonly NewJob[],
): Promise<(string | null)[]> {
  // From then on BullMQ's scripts are known to the connection.
  await queue.getBackend().client
  const answers = await transact(connection, (transaction) => {
    for (const job of jobs) stage(transaction, queue, job, true)
  })
  // Of each job there are two: BullMQ's, and that of the count.
  return jobs.map((_, index) => answers[2 * index + 1] as string | null)
}

/**
 * Makes the dead letter `from` a live job, `to`, in one transaction, its checkpoint included; only removes it if `to` is
 * `null`. Harmless if somebody else does the same: one job comes of it.
 */
export async function replaceDeadLetter(
  connection: Redis,
  queue: Queue,
  from: string,
  to: NewJob | null,
): Promise<void> {
  const { name } = queue
  await queue.getBackend().client
  await transact(connection, (transaction) => {
    if (to !== null) {
      // Before the job can start: what is written already need not be written again.
      transaction.copy(checkpointKey(name, from), checkpointKey(name, to.options.jobId))
      stage(transaction, queue, to, false)
    }
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

function stage(
  transaction: ChainableCommander,
  queue: Queue,
  { data, options }: NewJob,
  accepted: boolean,
): void {
  // What a connection that BullMQ wrapped gives to its transactions: the way to its scripts.
  const runCommand = (script: string, args: unknown[]) =>
    Reflect.get(transaction, script).call(transaction, args)
  const job = new Job(queue, JOB_NAME, data, options, options.jobId)
  void job.addJob(Object.assign(transaction, { runCommand }) as never, {})
  const keys = [queueKey(queue.name, options.jobId), countersKey(queue.name)]
  transaction.eval(COUNT, keys.length, ...keys, accepted ? 1 : 0)
}
