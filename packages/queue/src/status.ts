import { countersKey, queueKey } from "./names.ts"
import type { RedisClient } from "./redis/client.ts"

export interface QueueStatus {
  /** Jobs by state. `waiting` counts all that could begin now; `failed` are the dead letters; `completed` are kept for an hour. */
  readonly jobs: Readonly<Record<"waiting" | "active" | "delayed" | "completed" | "failed", number>>
  /** The time since the oldest of the next jobs in line was added; 0 if none waits. */
  readonly oldestWaitingSeconds: number
}

/** Projects take turns, so the oldest job need not be first in line. It is among this many, unless more projects wait. */
const NEXT_IN_LINE = 50

/** The state of the queue: a few counts, whatever its length. */
export async function queueStatus(connection: RedisClient, queue: string): Promise<QueueStatus> {
  const key = (type: string) => queueKey(queue, type)
  // BullMQ keeps waiting jobs in two places: those with a priority, which all new ones have (fair-queue.ts), and those without.
  const [first, prioritized, active, delayed, completed, failed, oldestWaitingSeconds] = await Promise.all([
    connection.llen(key("wait")),
    connection.zcard(key("prioritized")),
    connection.llen(key("active")),
    connection.zcard(key("delayed")),
    connection.zcard(key("completed")),
    connection.zcard(key("failed")),
    readOldestInLine(connection, queue),
  ])
  return { jobs: { waiting: first + prioritized, active, delayed, completed, failed }, oldestWaitingSeconds }
}

/** Seconds since the oldest of the next jobs in line was added; 0 if none waits. */
export async function readOldestInLine(connection: RedisClient, queue: string): Promise<number> {
  const key = (type: string) => queueKey(queue, type)
  const [next, nextByTurn] = await Promise.all([
    // Jobs are pushed on the left and taken from the right.
    connection.lindex(key("wait"), -1),
    connection.zrange(key("prioritized"), 0, String(NEXT_IN_LINE - 1)),
  ])
  const candidates = [...(next ? [next] : []), ...nextByTurn]
  const addedAt = await Promise.all(candidates.map((id) => connection.hget(key(id), "timestamp")))
  const times = addedAt.flatMap((text) => (text === null ? [] : [Number(text)]))
  return times.length > 0 ? Math.max(0, (Date.now() - Math.min(...times)) / 1_000) : 0
}

/** Whether anything was ever put into `queue`, or a worker ever waited for it. */
export async function queueExists(connection: RedisClient, queue: string): Promise<boolean> {
  return (await connection.exists(countersKey(queue), queueKey(queue, "meta"))) > 0
}
