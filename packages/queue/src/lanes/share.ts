/**
 * The share of the bulk lane while live jobs wait.
 *
 * All live jobs are before all bulk ones, so a stream of live ones that never ends would let no bulk job begin. So each live job that
 * is taken while bulk ones wait earns the bulk lane some units of cost (fair-queue.ts), in proportion to its own. Once these cover the
 * first bulk job, that job is the next. Each bulk job that is taken, for whatever reason, spends what was earned. The rest
 * expires when no bulk job waits, so that an idle lane saves nothing up.
 *
 * This happens in the script that takes a job, so a killed process loses nothing in between.
 */

import { FAIR_QUEUE } from "../enqueue/fair-queue.ts"
import { queueKey, turnsKey } from "../names.ts"

/** What a worker states when it takes a job. */
export interface LaneTurn {
  /** The minimum percentage of the cost of all taken jobs that the bulk lane gets. 0: nothing while live jobs wait. */
  readonly bulkShare: number
  /** Whether this worker would take a bulk job now. */
  readonly takesBulk: boolean
}

/** In percent. */
export const DEFAULT_BULK_SHARE = 5

/** 128 GiB: more than any job costs. The lane can't earn more while its first job may not be taken. */
const MOST_CREDIT = 1_024

/** The KEYS and ARGV of `taking` that follow the script's own. */
export const turnKeys = (queue: string): string[] => [queueKey(queue, ""), turnsKey(queue)]
export const turnArguments = ({ bulkShare, takesBulk }: LaneTurn): (string | number)[] => [
  bulkShare,
  takesBulk ? 1 : 0,
]

/**
 * Changes BullMQ's script `take(KEYS, ARGV)`, which takes the next job, so that the lanes take turns. `takes` is a Lua condition:
 * whether the script takes a job. `keys` is the number of the script's own KEYS. The job is taken even if something goes wrong
 * with the turns.
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
