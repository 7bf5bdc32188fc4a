/**
 * How projects take turns: start-time fair queueing (Goyal, Vin and Cheng, 1996) as BullMQ priorities, in bytes.
 *
 * Virtual time is the start tag of the job that is next in line. A job's start tag is the virtual time, or the finish tag of its project's
 * last job, whichever is later; its finish tag is its size further on. So a project that comes with ten archives begins at the virtual time,
 * and not behind the ten thousand of another: from there on the two alternate, byte for byte. What a project took while nobody
 * else wanted it is not held against it. Within a project, archives keep the order in which they came; one that failed, or
 * whose object is not there yet, goes to the end of its project's line, and one that is handed back to the head of all.
 *
 * The other way, a count of each project's backlog, needs a decrement when a job ends, drifts whenever a process dies in
 * between, and lets a project that keeps its backlog short always go first. Here nothing is decremented: virtual time is read
 * off the queue itself, and a tag that is lost or wrong is overtaken by it.
 *
 * BullMQ's priorities end at 2^21 - 1, so tags are counted in units, and everything that waits is moved back towards 1 when
 * virtual time has passed half of that: once in 128 TiB, if the queue is never empty for so long.
 */

import type { Job } from "bullmq"
import { LAST_PRIORITY } from "./bullmq-inside.ts"
import type { RedisClient } from "./client.ts"
import type { JobPayload } from "./job.ts"
import { queueKey, turnsKey } from "./names.ts"

/** One unit: what an archive costs at least, as its requests do. Archives differ by more than they lose by rounding. */
const UNIT_BYTES = 128 * 1024 * 1024
/** An archive whose callback does not tell its size counts as a typical one of 1 GiB. */
const USUAL_UNITS = 8
/** 64 GiB: no size that a callback claims buys its project a place beyond all reach. */
const MAX_UNITS = 512
/** Longer than the first delays of jobs that failed. */
const QUIET_SECONDS = 5

/**
 * `nextStartTag(prefix, tags, project, units, last)`: the start tag, as a priority, of a job that stands in no line. `prefix` is that of
 * BullMQ's keys, `tags` the key of the projects' finish tags, and `last` the last priority there is. Tags are counted from 0, priorities from 1.
 *
 * `virtualTime(prefix, tags, project)`: the virtual time, the latest finish tag of all and that of the project, whether nothing waits, and the
 * second that it is. The field `base` counts by how much tags have been moved back.
 */
export const FAIR_QUEUE = `
local SHIFTED = 0x100000000

local function virtualTime(prefix, tags, project)
  local prioritized = prefix .. "prioritized"
  local read = redis.call("HMGET", tags, "clock", "end", "at", project)
  local time, finish, at, own = tonumber(read[1] or 0), tonumber(read[2] or 0), tonumber(read[3] or 0), tonumber(read[4] or 0)

  local head = redis.call("ZRANGE", prioritized, 0, 0, "WITHSCORES")
  local idle = #head == 0
  local second = tonumber(redis.call("TIME")[1])
  if not idle then
    -- One before the next in line, where the job before it was: who comes now is not behind who comes next.
    time = math.max(time, math.floor(tonumber(head[2]) / SHIFTED) - 2)
  elseif second - at > QUIET_SECONDS then
    -- Everything was begun. Sooner than that, jobs that failed and have a new tag may be on their way back.
    time = math.max(time, finish)
  end
  return time, finish, own, idle, second
end

local function nextStartTag(prefix, tags, project, units, last)
  local prioritized = prefix .. "prioritized"
  local time, finish, own, idle, second = virtualTime(prefix, tags, project)

  if time > last / 2 and (idle or math.max(time, own) >= last) then
    local function moveBack(id)
      local priority = tonumber(redis.call("HGET", prefix .. id, "priority") or 0)
      if priority > 0 then redis.call("HSET", prefix .. id, "priority", math.max(priority - time, 1)) end
    end
    for from = 0, redis.call("ZCARD", prioritized) - 1, 1000 do
      -- Moving all of them by the same keeps their order, so that ranks hold meanwhile.
      local some = redis.call("ZRANGE", prioritized, from, from + 999, "WITHSCORES")
      for i = 1, #some, 2 do
        local score = tonumber(some[i + 1])
        local priority = math.max(math.floor(score / SHIFTED) - time, 1)
        redis.call("ZADD", prioritized, string.format("%.0f", priority * SHIFTED + score % SHIFTED), some[i])
        moveBack(some[i])
      end
    end
    for _, id in ipairs(redis.call("ZRANGE", prefix .. "delayed", 0, -1)) do moveBack(id) end
    for _, id in ipairs(redis.call("LRANGE", prefix .. "active", 0, -1)) do moveBack(id) end
    local entries = redis.call("HGETALL", tags)
    for i = 1, #entries, 2 do
      local left = tonumber(entries[i + 1]) - time
      if entries[i] == "at" or entries[i] == "base" then
      elseif left <= 0 then redis.call("HDEL", tags, entries[i])
      else redis.call("HSET", tags, entries[i], left) end
    end
    redis.call("HINCRBY", tags, "base", string.format("%.0f", time))
    finish, own, time = math.max(finish - time, 0), math.max(own - time, 0), 0
  end

  local start = math.max(time, own)
  own = start + units
  redis.call("HSET", tags, project, own, "clock", time, "end", math.max(finish, own), "at", second)
  return math.min(start + 1, last)
end
`.replaceAll("QUIET_SECONDS", String(QUIET_SECONDS))

/** The queue that it is about. */
export interface FairQueueOptions {
  readonly connection: RedisClient
  readonly queue: string
}

/** Gives the priority. KEYS: finish tags. ARGV: prefix, project, units, last priority. */
const RENEW_START_TAG = `${FAIR_QUEUE}
return nextStartTag(ARGV[1], KEYS[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]))`

/**
 * Gives a running job that will be delayed a new start tag, at the end of its project's line. With the old one it would be ahead of
 * everybody when it returns, as would ten thousand whose store is down. `costsUnit` if it only looked for its object.
 */
export async function renewStartTag(
  { connection, queue }: FairQueueOptions,
  job: Pick<Job, "changePriority">,
  { projectId, size }: Pick<JobPayload, "projectId" | "size">,
  costsUnit: boolean,
): Promise<void> {
  const given = [queueKey(queue, ""), projectId, costsUnit ? 1 : unitsOf(size), LAST_PRIORITY]
  const priority = await connection.eval(RENEW_START_TAG, 1, turnsKey(queue), ...given)
  await job.changePriority({ priority: Number(priority) })
}

/** What an archive of `size` bytes costs. */
export function unitsOf(size: number | undefined): number {
  if (size === undefined) return USUAL_UNITS
  return Math.min(Math.max(Math.ceil(size / UNIT_BYTES), 1), MAX_UNITS)
}
