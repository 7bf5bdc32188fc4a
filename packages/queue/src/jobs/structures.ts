/** BullMQ's own structures, a page at a time by rank: for whoever looks into the queue itself. */
import { queueKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import { readTogether } from "../redis/read-together.ts"
import { type ArchiveJob, readArchiveJobs } from "./archive-jobs.ts"

/** `wait`, `paused`, `prioritized` and `active` have the next job, or the longest running one, first. */
export const STRUCTURES = [
  "active",
  "wait",
  "prioritized",
  "paused",
  "delayed",
  "failed",
  "completed",
] as const
export type Structure = (typeof STRUCTURES)[number]

/** A job, with the numbers that only BullMQ needs. */
export interface QueuedJob {
  readonly job: ArchiveJob
  /** Its place among jobs that wait: the smallest priority is taken first, and 0 is before all others. */
  readonly priority: number
  /** How many times a worker took it. */
  readonly starts: number
  /** How long its last delay was, in milliseconds. */
  readonly delayMs: number
}

const LISTS: ReadonlySet<Structure> = new Set(["active", "wait", "paused"])
const NEWEST_FIRST: ReadonlySet<Structure> = new Set(["failed", "completed"])

/** How many jobs are in each structure. */
export async function countStructures(
  connection: RedisClient,
  queue: string,
): Promise<Readonly<Record<Structure, number>>> {
  const counts = await readTogether(
    connection,
    STRUCTURES.map((name) => [LISTS.has(name) ? "llen" : "zcard", queueKey(queue, name)] as const),
  )
  return Object.fromEntries(STRUCTURES.map((name, index) => [name, counts[index] ?? 0])) as Record<
    Structure,
    number
  >
}

/** The jobs at the ranks `first` to `last` of a structure. Ended jobs have the newest first, delayed ones the next due. */
export async function readStructure(
  connection: RedisClient,
  queue: string,
  name: Structure,
  first: number,
  last: number,
): Promise<QueuedJob[]> {
  const key = queueKey(queue, name)
  if (NEWEST_FIRST.has(name))
    return readQueuedJobs(connection, queue, await connection.zrevrange(key, first, last))
  if (!LISTS.has(name))
    return readQueuedJobs(connection, queue, await connection.zrange(key, first, String(last)))
  // Jobs are pushed on the left and taken from the right.
  const ids = await connection.lrange(key, -1 - last, -1 - first)
  return readQueuedJobs(connection, queue, ids.reverse())
}

/** The existing jobs with these ids, in this order. */
export async function readQueuedJobs(
  connection: RedisClient,
  queue: string,
  jobIds: readonly string[],
): Promise<QueuedJob[]> {
  const jobs = await readArchiveJobs(connection, queue, jobIds)
  if (jobs.length === 0) return []
  const reading = connection.pipeline()
  for (const { jobId } of jobs) reading.hmget(queueKey(queue, jobId), "priority", "ats", "delay")
  const numbers = ((await reading.exec()) ?? []).map(([error, fields]) => {
    if (error) throw error
    return (fields as (string | null)[]).map((text) => Number.parseInt(text ?? "", 10) || 0)
  })
  return jobs.map((job, index) => {
    const [priority = 0, starts = 0, delayMs = 0] = numbers[index] ?? []
    return { job, priority, starts, delayMs }
  })
}
