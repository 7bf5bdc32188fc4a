/**
 * The backlog in bytes, which decides how many workers are needed.
 *
 * A job's hash has its size in the field `bytes` from when it is added until it ends, and the counter `bytes` is the sum of these
 * fields; `bulkBytes` is that of the bulk lane alone. The script that adds a job sets both, and the one that ends it removes both (taking.ts), so a killed process leaves
 * no difference. Jobs that a worker of an earlier version ends leave their bytes in the counter; so do jobs that are removed by
 * hand. Whoever next looks at a queue in which nothing waits corrects the counter.
 *
 * A size is what the callback announces. Without one an archive counts as a gibibyte, as it does for turns. No archive counts for
 * more than 64 GiB, so that no callback can order a fleet. A job that an earlier version added counts as 0.
 */

import { SAYS_BULK } from "./lanes/lines.ts"
import { countersKey, queueKey } from "./names.ts"
import type { RedisClient } from "./redis/client.ts"

/** Announced bytes of the archives in a queue. */
export interface Backlog {
  /** Of those that could begin now. */
  readonly waitingBytes: number
  /** Of these, those in the bulk lane. */
  readonly waitingBulkBytes: number
  /** Of those that run. */
  readonly activeBytes: number
  /** Of those that wait for their next attempt, their object, or the end of a suspension: no worker would help them. */
  readonly delayedBytes: number
  /** While the queue is paused, no waiting job begins. */
  readonly isPaused: boolean
}

/** This many running and delayed jobs are looked at, evenly spread. They stand for the rest. */
const MOST_LOOKED_AT = 500

/** KEYS: counters, prefix of BullMQ's keys. ARGV: the most jobs to look at. Returns waiting, active and delayed bytes, the pause, and waiting bulk bytes. */
const READ = `${SAYS_BULK}
local counters, prefix, most = KEYS[1], KEYS[2], tonumber(ARGV[1])
local countedBulk = tonumber(redis.call("HGET", counters, "bulkBytes") or 0) or -1
local function sum(total, idAt)
  local looked, bytes, bulk = math.min(total, most), 0, 0
  for i = 0, looked - 1 do
    local id = idAt(math.floor(i * total / looked))
    local own = id and tonumber(redis.pcall("HGET", prefix .. id, "bytes") or 0) or 0
    bytes = bytes + own
    -- The data are long, so they are left alone while no bulk job is in the queue.
    if own > 0 and countedBulk ~= 0 and saysBulk(redis.pcall("HGET", prefix .. id, "data")) then bulk = bulk + own end
  end
  if looked == 0 then return 0, true, 0 end
  return bytes * total / looked, looked == total, bulk * total / looked
end
local actives = redis.call("LLEN", prefix .. "active")
local active, allActive, activeBulk = sum(actives, function(i) return redis.call("LINDEX", prefix .. "active", i) end)
local delayeds = redis.call("ZCARD", prefix .. "delayed")
local delayed, allDelayed, delayedBulk = sum(delayeds, function(i) return redis.call("ZRANGE", prefix .. "delayed", i, i)[1] end)

local waiting = redis.call("LLEN", prefix .. "wait") + redis.call("LLEN", prefix .. "paused") + redis.call("ZCARD", prefix .. "prioritized")
local counted = tonumber(redis.call("HGET", counters, "bytes") or 0) or -1
if waiting == 0 and allActive and allDelayed and counted ~= active + delayed then
  redis.call("HSET", counters, "bytes", string.format("%.0f", active + delayed))
end
if waiting == 0 and allActive and allDelayed and countedBulk ~= 0 and countedBulk ~= activeBulk + delayedBulk then
  redis.call("HSET", counters, "bulkBytes", string.format("%.0f", activeBulk + delayedBulk))
end
local function whole(number) return string.format("%.0f", math.max(number, 0)) end
local waitingBytes = waiting == 0 and 0 or counted - active - delayed
local waitingBulk = waiting == 0 and 0 or math.min(countedBulk - activeBulk - delayedBulk, waitingBytes)
return { whole(waitingBytes), whole(active), whole(delayed), redis.call("HEXISTS", prefix .. "meta", "paused"), whole(waitingBulk) }`

/**
 * The current backlog. Takes the same time whatever the queue's length. With more than 500 running or delayed jobs, their bytes,
 * and hence those of the waiting ones, are estimated.
 */
export async function readBacklog(connection: RedisClient, queue: string): Promise<Backlog> {
  const keys = [countersKey(queue), queueKey(queue, "")]
  const answers = (await connection.eval(READ, keys.length, ...keys, MOST_LOOKED_AT)) as (string | number)[]
  const [waitingBytes = 0, activeBytes = 0, delayedBytes = 0, paused = 0, waitingBulkBytes = 0] =
    answers.map(Number)
  return { waitingBytes, waitingBulkBytes, activeBytes, delayedBytes, isPaused: paused === 1 }
}
