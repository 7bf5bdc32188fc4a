/** How many archives were committed in each minute, as BullMQ's counter of completed jobs keeps it for a day. */
import { queueKey } from "./names.ts"
import type { RedisClient } from "./redis/client.ts"

const MINUTE_MS = 60_000

/**
 * The archives that were committed in each of the last `minutes`, the oldest first. The last one is the current minute so far.
 * BullMQ writes a minute down when the first job of a later one is completed.
 */
export async function readThroughput(
  connection: RedisClient,
  queue: string,
  minutes: number,
  now: number = Date.now(),
): Promise<number[]> {
  const [[count, seenAt, before], points] = await Promise.all([
    connection.hmget(queueKey(queue, "metrics:completed"), "count", "prevTS", "prevCount"),
    connection.lrange(queueKey(queue, "metrics:completed:data"), 0, minutes - 1),
  ])
  const newest = Math.floor(Number(seenAt ?? 0) / MINUTE_MS)
  const current = Math.floor(now / MINUTE_MS)
  const perMinute = [Number(count ?? 0) - Number(before ?? 0), ...points.map(Number)]
  return Array.from({ length: minutes }, (_, index) => {
    const minute = current - (minutes - 1 - index)
    return perMinute[newest - minute] ?? 0
  })
}
