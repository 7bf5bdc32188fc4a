/**
 * The share of the bulk lane while live jobs wait.
 *
 * All live jobs are before all bulk ones, so a stream of live ones that never ends would let no bulk job begin. So each live job that
 * is taken while bulk ones wait earns the bulk lane some units of cost (fair-queue.ts), in proportion to its own. Once these cover the
 * first bulk job, that job is the next. What is earned is spent when a bulk job is taken, whatever the reason, and is gone when
 * none waits, so that an idle lane saves nothing up.
 *
 * This happens in the script that takes a job, so that nothing is lost between the two, whichever process is killed.
 */

import { FAIR_QUEUE } from "../enqueue/fair-queue.ts"
import { queueKey, turnsKey } from "../names.ts"

/** What a worker says when it takes a job. */
export interface LaneTurn {
  /** The percentage that the bulk lane gets at least of what is taken, by cost. 0: nothing while live jobs wait. */
  readonly bulkShare: number
  /** Whether this worker would take a bulk job now. */
  readonly takesBulk: boolean
}

/** In percent. */
export const DEFAULT_BULK_SHARE = 5

/** 128 GiB: more than any job costs. The lane can't earn more while its first job may not be taken. */
const MOST_CREDIT = 1_024

/** KEYS of `taking` that follow the script's own, and the ARGV that do. */
export const turnKeys = (queue: string): string[] => [queueKey(queue, ""), turnsKey(queue)]
export const turnArguments = ({ bulkShare, takesBulk }: LaneTurn): (string | number)[] => [
  bulkShare,
  takesBulk ? 1 : 0,
]

/**
 * Makes a script of BullMQ's that takes the next job, `take(KEYS, ARGV)`, give the lanes their turns. `takes` is Lua for whether it
 * takes one. `keys` are the script's own. Whatever goes wrong with the turns, the job is taken.
 */
export const takingScript = (take: string, keys: number, takes: string): string => `${FAIR_QUEUE}
local prefix, tags = KEYS[${keys + 1}], KEYS[${keys + 2}]
local share, takesBulk = tonumber(ARGV[#ARGV - 1]), ARGV[#ARGV] == "1"
local bulk, live = laneOf(tags, true), laneOf(tags, false)

local function creditOf() return tonumber(redis.call("HGET", bulk.tags, "credit") or 0) end

local function offerTurn()
  local head = share > 0 and takesBulk and headOf(prefix, bulk)
  -- The sum of fractions may be a little less than it should be.
  if not head or creditOf() + 0.001 < unitsOf(prefix .. head.id) then return end
  if redis.call("LLEN", prefix .. "wait") > 0 or not headOf(prefix, live) then return end
  if redis.call("HEXISTS", prefix .. "meta", "paused") == 1 then return end
  redis.call("ZREM", prefix .. "prioritized", head.id)
  redis.call("RPUSH", prefix .. "wait", head.id)
end

local function countTurn(id)
  local credit
  if isBulk(prefix .. id) then
    credit = creditOf() - unitsOf(prefix .. id)
  elseif headOf(prefix, bulk) then
    credit = creditOf() + unitsOf(prefix .. id) * share / (100 - share)
  end
  if credit and credit > 0.001 then
    redis.call("HSET", bulk.tags, "credit", string.format("%.6f", math.min(credit, ${MOST_CREDIT})))
  else
    redis.call("HDEL", bulk.tags, "credit")
  end
end

local function takeNext(KEYS, ARGV)
${take}
end
if ${takes} then pcall(offerTurn) end
local answer = takeNext(KEYS, ARGV)
if type(answer) == "table" and type(answer[1]) == "table" then pcall(countTurn, answer[2]) end
return answer`
