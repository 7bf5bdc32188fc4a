/**
 * The steps of a suspension (suspension.ts). Each is one script, so that a job is always in one place and in the accounts.
 *
 * KEYS: suspensions, prefix of the held archives' keys, ended suspensions, turns, prefix of BullMQ's keys.
 * ARGV: one JSON object. Its `clock` is the worker's clock in milliseconds, by which BullMQ delays jobs. Times between workers are
 * measured by Redis's own clock.
 *
 * A suspension is a field `PROJECT:SIDE` of one hash, as JSON (`SuspensionState`). Its archives are in BullMQ's `delayed` set,
 * due when their time is up, and in a sorted set of its own, in the order of their turns. A job's hash remembers `held`
 * (milliseconds in suspensions that are over), `heldSince` (for the present one, if the archive itself was tried), `hits`,
 * `hitAt` and `hitBy` (when and at which workers a failure last counted).
 */
import { LANE_LINES } from "../lanes/lines.ts"

/** The beginning of all these scripts. */
export const COMMON = `${LANE_LINES}
local a = cjson.decode(ARGV[1])
local suspensions, heldOf, ends, turns, bull = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
-- Held bulk jobs are after all held live ones.
local BULK_ORDER = 0x200000000000

local function now()
  local t = redis.call("TIME")
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function whole(number) return string.format("%.0f", number) end
local function readAt(hash, name)
  local text = redis.call("HGET", hash, name)
  return text and cjson.decode(text) or nil
end
local function write(name, s) redis.call("HSET", suspensions, name, cjson.encode(s)) end
local function writeOrDrop(name, s)
  if redis.call("ZCARD", heldOf .. name) > 0 then write(name, s) return false end
  redis.call("HDEL", suspensions, name)
  return true
end

-- Turns are moved back now and then, but the order of held jobs is not.
local function base(bulk) return tonumber(redis.call("HGET", laneOf(turns, bulk).tags, "base") or 0) end
local function orderAt(priority, bulk)
  if not bulk then return base(false) + priority end
  return BULK_ORDER + base(true) + math.max(priority - BULK_FIRST + 1, 0)
end
local function orderOf(id)
  separateLanes(bull, turns)
  return orderAt(tonumber(redis.call("HGET", bull .. id, "priority") or 0), isBulk(bull .. id))
end

local function isOurs(id, token)
  return redis.call("GET", bull .. id .. ":lock") == token and redis.call("EXISTS", bull .. id) == 1
end
local function delay(id, dueMs)
  redis.call("ZADD", bull .. "delayed", whole(dueMs * 4096), id)
  local first = redis.call("ZRANGE", bull .. "delayed", 0, 0, "WITHSCORES")
  redis.call("ZADD", bull .. "marker", whole(math.floor(tonumber(first[2]) / 4096)), "1")
end
local function putAside(id, name, order, dueMs)
  redis.call("DEL", bull .. id .. ":lock")
  redis.call("SREM", bull .. "stalled", id)
  redis.call("LREM", bull .. "active", -1, id)
  redis.call("ZADD", heldOf .. name, whole(order), id)
  delay(id, dueMs)
end

-- The next archive after the last probe: an archive that is denied for its own reason must not be the only one tried.
local function chooseProbe(name, s, afterMs)
  s.probe = nil
  for _ = 1, 1000 do
    local found = redis.call("ZRANGEBYSCORE", heldOf .. name, "(" .. whole(s.probeOrder), "+inf", "WITHSCORES", "LIMIT", 0, 1)
    if #found == 0 then found = redis.call("ZRANGE", heldOf .. name, 0, 0, "WITHSCORES") end
    if #found == 0 then return end
    local id = found[1]
    local due = redis.call("ZSCORE", bull .. "delayed", id)
    if due then
      s.probe, s.probeOrder, s.nextProbeAt = id, tonumber(found[2]), now() + afterMs
      redis.call("HSETNX", bull .. id, "heldSince", whole(math.floor(tonumber(due) / 4096) - s.maxMs))
      -- First in line when it is due: others' backlogs must not hide the end of the trouble.
      redis.call("HSET", bull .. id, "priority", 0)
      delay(id, a.clock + afterMs)
      return
    end
    redis.call("ZREM", heldOf .. name, id)
  end
end
-- The archive that failed last is the worst probe, so another one replaces it as soon as there is one.
local function preferAnother(name, s)
  local due = s.probe and s.probe == s.failed and redis.call("ZSCORE", bull .. "delayed", s.probe)
  if not due or redis.call("ZCARD", heldOf .. name) < 2 then return end
  local f = redis.call("HMGET", bull .. s.probe, "held", "heldSince")
  delay(s.probe, tonumber(f[2] or a.clock) + s.maxMs - tonumber(f[1] or 0))
  chooseProbe(name, s, math.max(s.nextProbeAt - now(), 0))
  write(name, s)
end
local function passOn(name, s)
  if s.probe then redis.call("ZREM", heldOf .. name, s.probe) end
  chooseProbe(name, s, math.floor(s.intervalMs * a.jitter))
  return writeOrDrop(name, s)
end
`

/**
 * A run of `id` failed on `name`. Returns `lost` · `own`: others succeeded after each of its failures · `expired` · `back`: the
 * trouble is over, or only this worker's · `began` or `joined`: it is held. Also returns the milliseconds it was held, when it
 * failed, and how often its worker has been the only one to fail.
 */
export const HIT = `${COMMON}
if not isOurs(a.id, a.token) then return { "lost" } end
local t, s, job = now(), readAt(suspensions, a.name), bull .. a.id
local f = redis.call("HMGET", job, "hits", "hitAt", "held", "heldSince", "hitBy")
local hits, hitAt, held, heldSince = tonumber(f[1] or 0), tonumber(f[2] or 0), tonumber(f[3] or 0), tonumber(f[4] or a.clock)
local hitBy = f[5] or ""
local ended = readAt(ends, a.name)
local isNew = not string.find(hitBy, a.by, 1, true)
local othersWorked = ended ~= nil and ended.at > hitAt
local workedHere = a.workedAgoMs ~= nil and t - a.workedAgoMs > hitAt
-- It began after others had ended a suspension, but failed, and its worker has not succeeded since its last failure.
local endedAt = ended and (ended.seen or ended.at) or 0
local runAt = t - a.runMs
local strikes = a.strikes
if a.seenAgoMs ~= nil and t - a.seenAgoMs > a.lastHitAt then strikes = 0
elseif a.lastHitAt > 0 and endedAt > a.lastHitAt and runAt > endedAt then strikes = strikes + 1 end
local isBroken = strikes >= a.mostStrikes
-- A worker that has not succeeded itself may be broken, so it counts once.
local counts = hitAt > 0 and not isBroken and (workedHere or (isNew and othersWorked))
if hitAt == 0 or counts then
  -- A failure that does not count leaves no trace: it would hide others' success from a worker whose failure does count.
  hits, hitAt = hits + 1, t
  if isNew then hitBy = string.sub(a.by .. " " .. hitBy, 1, 1000) end
end
redis.call("HSET", job, "hits", hits, "hitAt", whole(hitAt), "heldSince", whole(heldSince), "hitBy", hitBy)

local isProbe = s ~= nil and s.probe == a.id
local heldMs = held + math.max(a.clock - heldSince, 0)
local verdict
if counts and hits >= a.ownHits then verdict = "own" end
if heldMs >= a.maxMs then verdict = "expired" end
if verdict then
  redis.call("ZREM", heldOf .. a.name, a.id)
  if isProbe then passOn(a.name, s) end
  return { verdict, whole(heldMs), whole(t), strikes }
end

local began = s == nil or s.ending
-- A suspension that is over does not begin again for an older run, nor for a worker that is the only one to fail.
if began and (isBroken or (endedAt > runAt and t - endedAt < 60000)) then return { "back", whole(heldMs), whole(t), strikes } end
local order = isProbe and s.probeOrder or orderOf(a.id)
if began then
  -- A suspension that ended a moment ago and begins again is probed less often than before.
  local before = s or (ended and t - ended.at < 60000 and ended) or nil
  local intervalMs = before and math.min(before.intervalMs * 2, 4 * a.firstMs, a.mostMs) or a.firstMs
  s = { since = t, intervalMs = intervalMs, probes = 0, maxMs = a.maxMs, probeOrder = order }
elseif isProbe and not isBroken then
  s.probes, s.intervalMs = s.probes + 1, math.min(s.intervalMs * 2, a.mostMs)
end
s.code, s.reason, s.remedy, s.failed, s.failedBy = a.code, a.reason, a.remedy, a.id, a.by
putAside(a.id, a.name, order, a.clock + a.maxMs - heldMs)
if isProbe or not s.probe then chooseProbe(a.name, s, math.floor(s.intervalMs * a.jitter)) end
write(a.name, s)
return { began and "began" or "joined", whole(heldMs), whole(t), strikes }`

/**
 * Whether the job `id`, just taken, may run. `names` is what it needs. Returns `run` · `probe` and the name that it probes ·
 * `held` · `lost` · `expired`, code, reason and the milliseconds it was held.
 */
export const ADMIT = `${COMMON}
if not isOurs(a.id, a.token) then return { "lost" } end
local t, name, s = now(), nil, nil
for _, candidate in ipairs(a.names) do
  local c = readAt(suspensions, candidate)
  if c and not c.ending then
    if c.probe == a.id then
      -- Happens only if this worker's clock is ahead of the one that delayed it.
      local earlyMs = c.nextProbeAt - t
      if earlyMs <= 250 then
        -- The worker that failed last lets others try first.
        if c.failedBy == a.by and (c.yields or 0) < 3 then
          c.yields = (c.yields or 0) + 1
          write(candidate, c)
          putAside(a.id, candidate, c.probeOrder, a.clock + 100)
          return { "held" }
        end
        c.yields = 0
        write(candidate, c)
        -- The time of its run does not count as held.
        local since = redis.call("HGET", bull .. a.id, "heldSince")
        if since then
          redis.call("HINCRBY", bull .. a.id, "held", whole(math.max(a.clock - tonumber(since), 0)))
          redis.call("HDEL", bull .. a.id, "heldSince")
        end
        return { "probe", candidate }
      end
      putAside(a.id, candidate, c.probeOrder, a.clock + earlyMs)
      return { "held" }
    end
    if not name then name, s = candidate, c end
  end
end
if not name then return { "run" } end

local f = redis.call("HMGET", bull .. a.id, "held", "heldSince")
local held, heldSince = tonumber(f[1] or 0), tonumber(f[2])
local order = redis.call("ZSCORE", heldOf .. name, a.id)
if order then
  -- Not the probe, and no longer delayed, so it is due.
  local heldMs = heldSince and held + a.clock - heldSince or t - s.since
  if heldMs >= s.maxMs - 1000 then
    redis.call("ZREM", heldOf .. name, a.id)
    writeOrDrop(name, s)
    return { "expired", s.code, s.reason, whole(heldMs) }
  end
end
putAside(a.id, name, tonumber(order) or orderOf(a.id), (heldSince or a.clock) + s.maxMs - held)
if s.probe then preferAnother(name, s)
else
  chooseProbe(name, s, math.floor(s.intervalMs * a.jitter))
  write(name, s)
end
return { "held" }`

/** `name` worked `agoMs` ago, or is ended by hand. Returns the state of the suspension that this ended, or nothing. */
export const END = `${COMMON}
local t, s = now(), readAt(suspensions, a.name)
if not s or s.ending or (not a.byHand and t - a.agoMs < s.since) then return false end
if not a.byHand then
  redis.call("HSET", ends, a.name, cjson.encode({ at = t - a.agoMs, seen = t, intervalMs = s.intervalMs }))
end
s.ending, s.endedAt, s.byHand, s.probe = true, t, a.byHand, nil
local state = cjson.encode(s)
writeOrDrop(a.name, s)
return state`

/** The probe `id` had no result: another is chosen, after the same interval. Returns 1 if that was the last archive it held. */
export const PASS_ON = `${COMMON}
local s = readAt(suspensions, a.name)
if not s or s.ending or s.probe ~= a.id then return 0 end
return passOn(a.name, s) and 1 or 0`

/** Makes sure that there is a good probe: workers die, and jobs are removed by hand. Returns 1 if nothing is held any more. */
export const TEND = `${COMMON}
local s = readAt(suspensions, a.name)
if not s or s.ending then return 0 end
local id = s.probe
local isLive = id and (redis.call("ZSCORE", bull .. "delayed", id) or redis.call("ZSCORE", bull .. "prioritized", id)
  or redis.call("LPOS", bull .. "active", id) or redis.call("LPOS", bull .. "wait", id))
if isLive then
  preferAnother(a.name, s)
  return 0
end
return passOn(a.name, s) and 1 or 0`
