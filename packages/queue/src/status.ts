import type { Redis } from "ioredis"
import { queueKey } from "./names.ts"

export interface QueueStatus {
  /** Jobs by state. `failed` are the dead letters; `completed` are kept for an hour. */
  readonly jobs: Readonly<
    Record<"waiting" | "active" | "delayed" | "prioritized" | "completed" | "failed", number>
  >
  /** Since the job that is next in line was added; 0 if none waits. */
  readonly oldestWaitingSeconds: number
}

/** How the queue is doing: a few counts, whatever its length. */
export async function queueStatus(connection: Redis, queue: string): Promise<QueueStatus> {
  const key = (type: string) => queueKey(queue, type)
  const [waiting, active, delayed, prioritized, completed, failed, next] = await Promise.all([
    connection.llen(key("wait")),
    connection.llen(key("active")),
    connection.zcard(key("delayed")),
    connection.zcard(key("prioritized")),
    connection.zcard(key("completed")),
    connection.zcard(key("failed")),
    // Jobs are pushed on the left and taken from the right.
    connection.lindex(key("wait"), -1),
  ])
  const addedAt = next ? await connection.hget(key(next), "timestamp") : null
  return {
    jobs: { waiting, active, delayed, prioritized, completed, failed },
    oldestWaitingSeconds: addedAt ? Math.max(0, (Date.now() - Number(addedAt)) / 1_000) : 0,
  }
}
