import { LANE_SCORES, LANES, type Lane } from "./jobs/lane.ts"
import { countersKey, queueKey } from "./names.ts"
import type { RedisClient } from "./redis/client.ts"

export interface QueueStatus {
  /** Jobs by state. `waiting` counts all that could begin now; `failed` are the dead letters; `completed` are kept for an hour. */
  readonly jobs: Readonly<Record<"waiting" | "active" | "delayed" | "completed" | "failed", number>>
  /** The time since the oldest of the next live jobs in line was added; 0 if none waits. */
  readonly oldestWaitingSeconds: number
  readonly lanes: Readonly<Record<Lane, LaneStatus>>
}

export interface LaneStatus {
  /** The waiting jobs of the lane. Jobs at the head of all count as live. */
  readonly waiting: number
  /** The time since the oldest of the next jobs in its line was added; 0 if none waits. */
  readonly oldestWaitingSeconds: number
}

/** Projects take turns, so the oldest job need not be first in line. It is among this many, unless more projects wait. */
const NEXT_IN_LINE = 50

/** The state of the queue: a few counts, whatever its length. */
export async function queueStatus(connection: RedisClient, queue: string): Promise<QueueStatus> {
  const key = (type: string) => queueKey(queue, type)
  // BullMQ keeps waiting jobs in two places: those with a priority, which all new ones have (fair-queue.ts), and those without.
  const [active, delayed, completed, failed, live, bulk] = await Promise.all([
    connection.llen(key("active")),
    connection.zcard(key("delayed")),
    connection.zcard(key("completed")),
    connection.zcard(key("failed")),
    ...LANES.map((lane) => readLane(connection, queue, lane)),
  ])
  return {
    jobs: { waiting: live!.waiting + bulk!.waiting, active, delayed, completed, failed },
    oldestWaitingSeconds: live!.oldestWaitingSeconds,
    lanes: { live: live!, bulk: bulk! },
  }
}

/** The jobs that wait in `lane`. */
export async function readLane(connection: RedisClient, queue: string, lane: Lane): Promise<LaneStatus> {
  const { min, max } = LANE_SCORES[lane]
  const [waiting, first, oldestWaitingSeconds] = await Promise.all([
    connection.zcount(queueKey(queue, "prioritized"), min, max),
    lane === "live" ? connection.llen(queueKey(queue, "wait")) : 0,
    readOldestInLine(connection, queue, lane),
  ])
  return { waiting: waiting + first, oldestWaitingSeconds }
}

/** Seconds since the oldest of the next jobs in the lane's line was added; 0 if none waits. */
async function readOldestInLine(connection: RedisClient, queue: string, lane: Lane): Promise<number> {
  const key = (type: string) => queueKey(queue, type)
  const { min, max } = LANE_SCORES[lane]
  const [next, nextByTurn] = await Promise.all([
    // Jobs are pushed on the left and taken from the right.
    lane === "live" ? connection.lindex(key("wait"), -1) : null,
    connection.zrangebyscore(key("prioritized"), min, max, "LIMIT", 0, NEXT_IN_LINE),
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
