/**
 * How projects take turns: start-time fair queueing (Goyal, Vin and Cheng, 1996) as BullMQ priorities, in bytes.
 *
 * A virtual clock stands at the job that is next in line. A job's turn is the clock, or where its project's last job ended,
 * whichever is later; it ends its size further on. So a project that comes with ten archives stands where the clock is, and
 * not behind the ten thousand of another: from there on the two alternate, byte for byte. What a project took while nobody
 * else wanted it is not held against it. Within a project, archives keep the order in which they came; one that failed, or
 * whose object is not there yet, goes to the end of its project's line, and one that is handed back to the head of all.
 *
 * The other way, a count of each project's backlog, needs a decrement when a job ends, drifts whenever a process dies in
 * between, and lets a project that keeps its backlog short always go first. Here nothing is decremented: the clock is read
 * off the queue itself, and an entry that is lost or wrong is overtaken by the clock.
 *
 * BullMQ's priorities end at 2^21 - 1, so turns are counted in units, and everything that waits is moved back towards 1 when
 * the clock has passed half of that: once in 128 TiB, if the queue is never empty for so long.
 */

import type { Job } from "bullmq"
import type { RedisClient } from "./client.ts"
import type { JobPayload } from "./job.ts"
import { queueKey, turnsKey } from "./names.ts"

/** One unit: what an archive costs at least, as its requests do. Archives differ by more than they lose by rounding. */
const UNIT_BYTES = 128 * 1024 * 1024
/** An archive whose callback does not tell its size counts as a typical one of 1 GiB. */
const USUAL_UNITS = 8
/** 64 GiB: no size that a callback claims buys its project a place beyond all reach. */
const MAX_UNITS = 512
export const LAST_PRIORITY = 2 ** 21 - 1
/** Longer than the first delays of jobs that failed. */
const QUIET_SECONDS = 5

/**
 * `takeTurn(prefix, turns, project, units, last)`: the priority of a job that stands in no line. `prefix` is that of BullMQ's
 * keys, and `last` the last priority there is. Turns are counted from 0, priorities from 1.
 *
 * `standingClock(prefix, turns, project)`: where the clock stands, the end of the longest line, that of the project's own, whether
 * nothing waits, and the second that it is. The field `base` counts by how much turns have been moved back.
 */
export const TAKE_TURN = `
local SHIFTED = 0x100000000

local function standingClock(prefix, turns, project)
  local prioritized = prefix .. "prioritized"
  local read = redis.call("HMGET", turns, "clock", "end", "at", project)
  local clock, finish, at, own = tonumber(read[1] or 0), tonumber(read[2] or 0), tonumber(read[3] or 0), tonumber(read[4] or 0)

  local head = redis.call("ZRANGE", prioritized, 0, 0, "WITHSCORES")
  local idle = #head == 0
  local second = tonumber(redis.call("TIME")[1])
  if not idle then
    -- One before the next in line, where the job before it was: who comes now is not behind who comes next.
    clock = math.max(clock, math.floor(tonumber(head[2]) / SHIFTED) - 2)
  elseif second - at > QUIET_SECONDS then
    -- Everything was begun. Sooner than that, jobs that failed and have a new turn may be on their way back.
    clock = math.max(clock, finish)
  end
  return clock, finish, own, idle, second
end

local function takeTurn(prefix, turns, project, units, last)
  local prioritized = prefix .. "prioritized"
  local clock, finish, own, idle, second = standingClock(prefix, turns, project)

  if clock > last / 2 and (idle or math.max(clock, own) >= last) then
    local function moveBack(id)
      local priority = tonumber(redis.call("HGET", prefix .. id, "priority") or 0)
      if priority > 0 then redis.call("HSET", prefix .. id, "priority", math.max(priority - clock, 1)) end
    end
    for from = 0, redis.call("ZCARD", prioritized) - 1, 1000 do
      -- Moving all of them by the same keeps their order, so that ranks hold meanwhile.
      local some = redis.call("ZRANGE", prioritized, from, from + 999, "WITHSCORES")
      for i = 1, #some, 2 do
        local score = tonumber(some[i + 1])
        local priority = math.max(math.floor(score / SHIFTED) - clock, 1)
        redis.call("ZADD", prioritized, string.format("%.0f", priority * SHIFTED + score % SHIFTED), some[i])
        moveBack(some[i])
      end
    end
    for _, id in ipairs(redis.call("ZRANGE", prefix .. "delayed", 0, -1)) do moveBack(id) end
    for _, id in ipairs(redis.call("LRANGE", prefix .. "active", 0, -1)) do moveBack(id) end
    local entries = redis.call("HGETALL", turns)
    for i = 1, #entries, 2 do
      local left = tonumber(entries[i + 1]) - clock
      if entries[i] == "at" or entries[i] == "base" then
      elseif left <= 0 then redis.call("HDEL", turns, entries[i])
      else redis.call("HSET", turns, entries[i], left) end
    end
    redis.call("HINCRBY", turns, "base", string.format("%.0f", clock))
    finish, own, clock = math.max(finish - clock, 0), math.max(own - clock, 0), 0
  end

  local start = math.max(clock, own)
  own = start + units
  redis.call("HSET", turns, project, own, "clock", clock, "end", math.max(finish, own), "at", second)
  return math.min(start + 1, last)
end
`.replaceAll("QUIET_SECONDS", String(QUIET_SECONDS))

/** Whose turn it is about. */
export interface TurnOptions {
  readonly connection: RedisClient
  readonly queue: string
}

/** Gives the priority. KEYS: turns. ARGV: prefix, project, units, last priority. */
const TAKE_TURN_AGAIN = `${TAKE_TURN}
return takeTurn(ARGV[1], KEYS[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]))`

/**
 * Gives a running job that will be delayed a new turn, at the end of its project's line. With the old one it would be ahead of
 * everybody when it returns, as would ten thousand whose store is down. `costsUnit` if it only looked for its object.
 */
export async function takeTurnAgain(
  { connection, queue }: TurnOptions,
  job: Pick<Job, "changePriority">,
  { projectId, size }: Pick<JobPayload, "projectId" | "size">,
  costsUnit: boolean,
): Promise<void> {
  const given = [queueKey(queue, ""), projectId, costsUnit ? 1 : unitsOf(size), LAST_PRIORITY]
  const priority = await connection.eval(TAKE_TURN_AGAIN, 1, turnsKey(queue), ...given)
  await job.changePriority({ priority: Number(priority) })
}

/** What an archive of `size` bytes costs. */
export function unitsOf(size: number | undefined): number {
  if (size === undefined) return USUAL_UNITS
  return Math.min(Math.max(Math.ceil(size / UNIT_BYTES), 1), MAX_UNITS)
}
