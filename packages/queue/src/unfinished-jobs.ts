/**
 * The unfinished jobs of each lane by when they were added: a sorted set, so that the oldest is known whatever the queue's length. The line can't tell:
 * it is ordered by turns, and delayed jobs by when they are due.
 *
 * The script that adds a job enters it, and the one that ends it removes it (taking.ts). Jobs that a worker of an earlier
 * version ends, or that are removed by hand, stay; a look at the oldest removes them. Jobs that an earlier version added are not
 * in it.
 */

import type { Lane } from "./jobs/lane.ts"
import { queueKey, unfinishedKey } from "./names.ts"
import type { RedisClient } from "./redis/client.ts"

export interface OldestJobs {
  /** Seconds since the oldest unfinished job was added: one that waits, runs or is delayed. 0 if there is none. */
  readonly unfinishedSeconds: number
  /** Seconds since the oldest job was added that waits, and could begin now; `null` if none of the oldest 500 does. */
  readonly waitingSeconds: number | null
}

/** How many of the oldest are looked at. */
const MOST_LOOKED_AT = 500

/**
 * KEYS: unfinished jobs, prefix of BullMQ's keys. ARGV: the most jobs to look at. Returns the milliseconds since the oldest one and the
 * oldest waiting one were added; -1 for none.
 */
const READ = `
local unfinished, prefix = KEYS[1], KEYS[2]
local t = redis.call("TIME")
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local oldest, waiting = -1, -1
local found = redis.call("ZRANGE", unfinished, 0, ARGV[1] - 1, "WITHSCORES")
for i = 1, #found, 2 do
  local id, age = found[i], math.max(now - tonumber(found[i + 1]), 0)
  local hasEnded = redis.call("EXISTS", prefix .. id) == 0
    or redis.call("ZSCORE", prefix .. "completed", id) or redis.call("ZSCORE", prefix .. "failed", id)
  if hasEnded then
    redis.call("ZREM", unfinished, id)
  else
    if oldest < 0 then oldest = age end
    local runs = redis.call("EXISTS", prefix .. id .. ":lock") == 1
    if not runs and not redis.call("ZSCORE", prefix .. "delayed", id) then
      waiting = age
      break
    end
  end
end
return { string.format("%.0f", oldest), string.format("%.0f", waiting) }`

/** The ages of a lane's oldest jobs. Takes the same time whatever the queue's length. */
export async function readOldestJobs(
  connection: RedisClient,
  queue: string,
  lane: Lane,
): Promise<OldestJobs> {
  const keys = [unfinishedKey(queue, lane), queueKey(queue, "")]
  const answers = (await connection.eval(READ, keys.length, ...keys, MOST_LOOKED_AT)) as string[]
  const [unfinishedMs = 0, waitingMs = 0] = answers.map(Number)
  return {
    unfinishedSeconds: Math.max(unfinishedMs, 0) / 1_000,
    waitingSeconds: waitingMs < 0 ? null : waitingMs / 1_000,
  }
}
