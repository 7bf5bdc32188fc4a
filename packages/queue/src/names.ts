/** The queue's keys in Redis. All keys of a queue share one hash tag, hence a slot of a Redis Cluster. */

import type { Lane } from "./jobs/lane.ts"

/** The name of every job. A queue holds one kind of work. */
export const JOB_NAME = "decrypt"

/** BullMQ's key prefix for `queue`. */
export const queuePrefix = (queue: string): string => `{${queue}}`

/** The Redis key of one of BullMQ's structures (`wait`, `active`, `failed`, …) or of a job, by its id. */
export const queueKey = (queue: string, type: string): string => `${queuePrefix(queue)}:${queue}:${type}`

/** The Redis key of a running job's lock, which contains the run's token. */
export const lockKey = (queue: string, jobId: string): string => `${queueKey(queue, jobId)}:lock`

/** The Redis key of the projects' finish tags (fair-queue.ts). Outside BullMQ's own names. */
export const turnsKey = (queue: string): string => `${queuePrefix(queue)}:turns`

/** The Redis key of the queue's own counters (accounting.ts). Outside BullMQ's own names. */
export const countersKey = (queue: string): string => `${queuePrefix(queue)}:counters`

/** The Redis key of a job's checkpoint (checkpoint.ts). Outside BullMQ's own names. */
export const checkpointKey = (queue: string, jobId: string): string =>
  `${queuePrefix(queue)}:checkpoint:${jobId}`

/** The Redis key of the jobs that were discarded, by when (dead-letters/discarded.ts). Outside BullMQ's own names. */
export const discardedKey = (queue: string): string => `${queuePrefix(queue)}:discarded`

/** The Redis key of when the queue was paused (pause.ts). Outside BullMQ's own names. */
export const pausedSinceKey = (queue: string): string => `${queuePrefix(queue)}:paused-since`

/** The Redis key of the suspensions (suspension.ts), one field each. Outside BullMQ's own names. */
export const suspensionsKey = (queue: string): string => `${queuePrefix(queue)}:suspensions`

/** The Redis key of the archives that a suspension holds back, in order; `name` is `PROJECT:SIDE`. Outside BullMQ's own names. */
export const heldKey = (queue: string, name: string): string => `${queuePrefix(queue)}:held:${name}`

/** The Redis key of when each suspension ended last. Outside BullMQ's own names. */
export const endedSuspensionsKey = (queue: string): string => `${queuePrefix(queue)}:suspensions:ended`

/** The Redis key of a lane's unfinished jobs by when they were added (unfinished-jobs.ts). Outside BullMQ's own names. */
export const unfinishedKey = (queue: string, lane: Lane): string =>
  `${queuePrefix(queue)}:unfinished${lane === "bulk" ? ":bulk" : ""}`

/** The Redis key of the observer's lease (observer/lease.ts). Outside BullMQ's own names. */
export const observerKey = (queue: string): string => `${queuePrefix(queue)}:observer`

/** The Redis key of the objects that a backfill has asked back (backfill/restores.ts). Outside BullMQ's own names. */
export const restoresKey = (queue: string, backfillId: string): string =>
  `${queuePrefix(queue)}:backfill-restores:${backfillId}`

/** The Redis key of what the janitor's last sweep found (sweep-note.ts). Outside BullMQ's own names. */
export const sweepKey = (queue: string): string => `${queuePrefix(queue)}:uploads`

/** The Redis key of the backfills that are under way (backfill/registry.ts). Outside BullMQ's own names. */
export const backfillsKey = (queue: string): string => `${queuePrefix(queue)}:backfills`

/** The Redis key of how far each backfill is (backfill/registry.ts). Outside BullMQ's own names. */
export const backfillProgressKey = (queue: string): string => `${queuePrefix(queue)}:backfills:progress`

/** The Redis key of the lease of the one process that feeds (backfill/lease.ts). Outside BullMQ's own names. */
export const feederKey = (queue: string): string => `${queuePrefix(queue)}:backfills:feeder`
