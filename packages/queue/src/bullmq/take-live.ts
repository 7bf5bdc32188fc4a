/** Appended to the prefix of BullMQ's keys: `wake` (lanes/lines.ts) sets the member "0" here for each live job that joins the line. */
export const LIVE_MARKER = "marker:live"

/** Positions among the KEYS and ARGV of BullMQ's `moveToActive`, from 1. */
const WAIT = 1
const PRIORITIZED = 3
const DELAYED = 7
const MARKER = 11
const PREFIX = 1
const CLOCK = 2
/** How many jobs to search, in the line and among those that are due. */
const WINDOW = 100

/**
 * BullMQ's script that takes a job, as a function. If this worker takes no bulk job now (the last of ARGV is 0), it is called only if
 * it will find a live one. This must be one script. Between two scripts, another worker could take the live job, and this worker
 * would take a bulk job for which it has no slot.
 *
 * Bulk jobs at the head of all (a probe, or one whose turn has come) are out of the line meanwhile. A bulk probe that becomes due
 * at this moment is taken anyway: it is one request, and many archives may wait for its result.
 *
 * A live job that was found wakes the next worker, as BullMQ's own marker does. If there is no live job, BullMQ's marker is set
 * again: this worker may have taken it from one that has a bulk slot.
 */
export const liveAlone = (lua: string): string => `
local function takeAny(KEYS, ARGV)
${lua}
end
if ARGV[#ARGV] ~= "0" then return takeAny(KEYS, ARGV) end
local wait, prioritized, delayed, marker = KEYS[${WAIT}], KEYS[${PRIORITIZED}], KEYS[${DELAYED}], KEYS[${MARKER}]
local prefix, clock = ARGV[${PREFIX}], tonumber(ARGV[${CLOCK}])
local function findLive(ids)
  for at, id in ipairs(ids) do if not isBulk(prefix .. id) then return at end end
end

-- The next job is the last of the list. The prioritized jobs come after the list.
local first = redis.call("LRANGE", wait, -${WINDOW}, -1)
local found = #first
while found > 0 and isBulk(prefix .. first[found]) do found = found - 1 end
local passed = #first - found
local isFound = found > 0
if not isFound and redis.call("LLEN", wait) <= ${WINDOW} then
  isFound = findLive(redis.call("ZRANGE", prioritized, 0, 0))
    or findLive(redis.call("ZRANGEBYSCORE", delayed, 0, (clock + 1) * 0x1000 - 1, "LIMIT", 0, ${WINDOW}))
end
if not isFound then
  if #first > 0 or redis.call("ZCARD", prioritized) > 0 then redis.call("ZADD", marker, 0, "0") end
  return { 0, 0, 0, 0 }
end
if passed > 0 then redis.call("LTRIM", wait, 0, -passed - 1) end
-- This fails halfway if the job's fields are damaged. The other jobs must return to the line even then.
local isDone, answer = pcall(takeAny, KEYS, ARGV)
for i = found + 1, #first do redis.call("RPUSH", wait, first[i]) end
redis.call("ZADD", prefix .. "${LIVE_MARKER}", 0, "0")
if not isDone and type(answer) ~= "table" then return { err = tostring(answer) } end
return answer`
