/**
 * How projects take turns: start-time fair queueing (Goyal, Vin and Cheng, 1996) as BullMQ priorities, in bytes.
 *
 * Virtual time is the start tag of the next job in line. A job's start tag is the later of virtual time and the finish tag of its
 * project's last job; its finish tag is its start tag plus its size. So a project that arrives with ten archives begins at
 * virtual time, and not behind another's ten thousand; from there on the two alternate, byte for byte. A project is not penalised
 * for what it used while nobody else wanted it. Within a project, archives keep their order of arrival. One that failed, or whose
 * object is not there yet, goes to the end of its project's line. One that is handed back goes to the head of its lane, or of all
 * if it is live.
 *
 * The alternative, a count of each project's backlog, must be decremented when a job ends. It drifts whenever a process dies in
 * between, and lets a project with a short backlog always go first. Here nothing is decremented. Virtual time comes from the
 * queue itself, and overtakes a lost or wrong tag.
 *
 * Each lane has a virtual time and finish tags of its own, in its own half of BullMQ's priorities: live jobs before 2^20, bulk jobs
 * from there on. So every live job is before every bulk job, and projects are fair to each other within a lane. The share that
 * bulk jobs get while live ones wait is decided when a job is taken (lanes/share.ts).
 *
 * A half has 2^20 priorities, so tags count units. When a lane's virtual time has passed half of them, its waiting jobs are moved
 * back towards its first priority. That happens once in 64 TiB, if the lane is never empty for that long. Version 0.1.0 had one
 * line with all priorities. Its jobs are live, and are moved into the live half once, in their order.
 */

import type { JobPayload } from "../jobs/job.ts"
import { LANE_LINES } from "../lanes/lines.ts"
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
 * `nextStartTag(prefix, tags, bulk, project, units)`: the start tag, as a priority, of a job that is in no line. `prefix` is that
 * of BullMQ's keys, `tags` the key of the projects' finish tags. Tags count from 0, priorities from the lane's first.
 *
 * `virtualTime(prefix, lane, project)`: virtual time, the latest finish tag of all and that of the project, whether nothing waits in
 * the lane, and the current second. The field `base` counts by how much tags have been moved back.
 *
 * `unitsOf(job)`: the cost of the job with that key, from the bytes that it adds to the backlog.
 */
export const FAIR_QUEUE = `${LANE_LINES}
local function virtualTime(prefix, lane, project)
  local read = redis.call("HMGET", lane.tags, "clock", "end", "at", project)
  local time, finish, at, own = tonumber(read[1] or 0), tonumber(read[2] or 0), tonumber(read[3] or 0), tonumber(read[4] or 0)

  local head = headOf(prefix, lane)
  local idle = head == nil
  local second = tonumber(redis.call("TIME")[1])
  if not idle then
    -- One less than the next job's tag, so that a new job does not end up behind that job.
    time = math.max(time, head.priority - lane.first - 1)
  elseif second - at > QUIET_SECONDS then
    -- Every job was begun. Before this time has passed, failed jobs with a new tag may still return.
    time = math.max(time, finish)
  end
  return time, finish, own, idle, second
end

local function nextStartTag(prefix, tags, bulk, project, units)
  separateLanes(prefix, tags)
  local lane = laneOf(tags, bulk)
  local time, finish, own, idle, second = virtualTime(prefix, lane, project)

  if time > LANE_TAGS / 2 and (idle or math.max(time, own) >= LANE_TAGS) then
    moveBack(prefix, lane, time, function(priority) return (priority >= BULK_FIRST) == bulk end)
    finish, own, time = math.max(finish - time, 0), math.max(own - time, 0), 0
  end

  local start = math.max(time, own)
  own = start + units
  redis.call("HSET", lane.tags, project, own, "clock", time, "end", math.max(finish, own), "at", second)
  return lane.first + math.min(start, LANE_TAGS - 1)
end

local function unitsOf(job)
  local bytes = tonumber(redis.call("HGET", job, "bytes") or nil)
  if not bytes then return ${USUAL_UNITS} end
  return math.min(math.max(math.ceil(bytes / ${UNIT_BYTES}), 1), ${MAX_UNITS})
end
`.replaceAll("QUIET_SECONDS", String(QUIET_SECONDS))

/** Names the queue. */
export interface FairQueueOptions {
  readonly connection: RedisClient
  readonly queue: string
}

/** KEYS: finish tags. ARGV: prefix, id, project, units. In one step, because a callback may make the job live at any time. */
const RENEW_START_TAG = `${FAIR_QUEUE}
local job = ARGV[1] .. ARGV[2]
if redis.call("EXISTS", job) == 0 then return end
redis.call("HSET", job, "priority", nextStartTag(ARGV[1], KEYS[1], isBulk(job), ARGV[3], tonumber(ARGV[4])))`

/**
 * Gives a running job that will be delayed a new start tag, at the end of its project's line in its lane. With the old one it
 * would return ahead of everybody. So would ten thousand jobs whose store is down. With `costsUnit` it costs one unit, because it
 * only looked for its object.
 */
export async function renewStartTag(
  { connection, queue }: FairQueueOptions,
  jobId: string,
  { projectId, size }: Pick<JobPayload, "projectId" | "size">,
  costsUnit: boolean,
): Promise<void> {
  const given = [queueKey(queue, ""), jobId, projectId, costsUnit ? 1 : unitsOf(size)]
  await connection.eval(RENEW_START_TAG, 1, turnsKey(queue), ...given)
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
