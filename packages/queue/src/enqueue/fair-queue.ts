/**
 * How projects take turns: start-time fair queueing (Goyal, Vin and Cheng, 1996) as BullMQ priorities, in bytes.
 *
 * Virtual time is the start tag of the next job in line. A job's start tag is the later of virtual time and the finish tag of its
 * project's last job; its finish tag is its size further on. So a project that arrives with ten archives begins at virtual time,
 * and not behind another's ten thousand; from there on the two alternate, byte for byte. A project is not penalised for what it
 * used while nobody else wanted it. Within a project, archives keep their order of arrival. One that failed, or whose object is
 * not there yet, goes to the end of its project's line. One that is handed back goes to the head of all.
 *
 * The alternative, a count of each project's backlog, must be decremented when a job ends. It drifts whenever a process dies in
 * between, and lets a project with a short backlog always go first. Here nothing is decremented. Virtual time comes from the
 * queue itself, and overtakes a lost or wrong tag.
 *
 * BullMQ's priorities end at 2^21 - 1, so tags count units, and when virtual time has passed half of that, all waiting jobs are
 * moved back towards 1: once in 128 TiB, if the queue is never empty for that long.
 */

import type { Job } from "bullmq"
import { LAST_PRIORITY } from "../bullmq/inside.ts"
import type { JobPayload } from "../jobs/job.ts"
import { queueKey, turnsKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"

/** One unit: an archive's minimum cost, for its requests. Archives differ by more than rounding loses. */
const UNIT_BYTES = 128 * 1024 * 1024
/** An archive whose callback gives no size counts as a typical one of 1 GiB. */
const USUAL_UNITS = 8
/** 64 GiB. No size in a callback puts its project's next archive out of reach. */
const MAX_UNITS = 512
/** Longer than the first delays of failed jobs. */
const QUIET_SECONDS = 5

/**
 * `nextStartTag(prefix, tags, project, units, last)`: the start tag, as a priority, of a job that is in no line. `prefix` is
 * that of BullMQ's keys, `tags` the key of the projects' finish tags, and `last` the last priority. Tags count from 0, priorities from 1.
 *
 * `virtualTime(prefix, tags, project)`: virtual time, the latest finish tag of all and that of the project, whether nothing waits,
 * and the current second. The field `base` counts by how much tags have been moved back.
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
    -- One before the next in line, where the job before it was, so that a new job is not behind the next one.
    time = math.max(time, math.floor(tonumber(head[2]) / SHIFTED) - 2)
  elseif second - at > QUIET_SECONDS then
    -- Everything was begun. Any sooner, failed jobs with a new tag may still return.
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
      -- Moving all by the same amount keeps their order, so that ranks stay valid meanwhile.
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

/** Names the queue. */
export interface FairQueueOptions {
  readonly connection: RedisClient
  readonly queue: string
}

/** Returns the priority. KEYS: finish tags. ARGV: prefix, project, units, last priority. */
const RENEW_START_TAG = `${FAIR_QUEUE}
return nextStartTag(ARGV[1], KEYS[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]))`

/**
 * Gives a running job that will be delayed a new start tag, at the end of its project's line. With the old one it would return
 * ahead of everybody, and so would ten thousand whose store is down. `costsUnit` if it only looked for its object.
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

/** The cost of an archive of `size` bytes. */
export function unitsOf(size: number | undefined): number {
  if (size === undefined) return USUAL_UNITS
  return Math.min(Math.max(Math.ceil(size / UNIT_BYTES), 1), MAX_UNITS)
}

/** The bytes that an archive of `size` adds to the backlog: what its callback announces, within the same limits. */
export function backlogBytesOf(size: number | undefined): number {
  if (size === undefined) return USUAL_UNITS * UNIT_BYTES
  return Math.min(Math.max(Math.ceil(size), 0), MAX_UNITS * UNIT_BYTES)
}
