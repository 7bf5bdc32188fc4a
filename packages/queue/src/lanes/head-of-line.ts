/** Returns jobs to where they were: a live one to the head of all, a bulk one to the head of its lane. */
import { queueKey, turnsKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import { LANE_LINES } from "./lines.ts"

/** KEYS: prefix of BullMQ's keys, finish tags. ARGV: id, token. Returns 0 if the run no longer owns the job. */
const HAND_BACK = `${LANE_LINES}
local prefix, id = KEYS[1], ARGV[1]
local job = prefix .. id
if redis.call("GET", job .. ":lock") ~= ARGV[2] or redis.call("LREM", prefix .. "active", -1, id) == 0 then return 0 end
redis.call("DEL", job .. ":lock")
redis.call("SREM", prefix .. "stalled", id)
if isBulk(job) then
  toHeadOf(prefix, laneOf(KEYS[2], true), id)
else
  redis.call("HSET", job, "priority", 0)
  redis.call("RPUSH", prefix .. "wait", id)
  wake(prefix, false)
end
return 1`

/** Hands a running job back, and wakes an idle worker. `false` if the run no longer owns it. */
export async function handBack(
  connection: RedisClient,
  queue: string,
  jobId: string,
  token: string,
): Promise<boolean> {
  const keys = [queueKey(queue, ""), turnsKey(queue)]
  return (await connection.eval(HAND_BACK, keys.length, ...keys, jobId, token)) === 1
}

/** KEYS: prefix of BullMQ's keys, finish tags. ARGV: id. */
const LEAVE_HEAD = `${LANE_LINES}
local prefix, id = KEYS[1], ARGV[1]
if isBulk(prefix .. id) and redis.call("LREM", prefix .. "wait", -1, id) > 0 then
  toHeadOf(prefix, laneOf(KEYS[2], true), id)
end`

/** BullMQ puts a stalled job at the head of all. A bulk one goes on to the head of its lane, unless it has been taken already. */
export async function returnStalled(connection: RedisClient, queue: string, jobId: string): Promise<void> {
  const keys = [queueKey(queue, ""), turnsKey(queue)]
  await connection.eval(LEAVE_HEAD, keys.length, ...keys, jobId)
}
