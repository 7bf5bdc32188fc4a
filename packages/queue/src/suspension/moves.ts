/** The steps of a suspension that move many jobs: out of the line when it begins, and back in their old order when it has ended. */

import { FAIR_QUEUE } from "../enqueue/fair-queue.ts"
import { COMMON } from "./scripts.ts"

/**
 * Sets aside the project's waiting jobs, `limit` jobs of the line at a time, from the score `from` on; for the vendor's side only
 * those that need it. Returns the next `from`, or "".
 */
export const SET_ASIDE = `${COMMON}
local s = readAt(suspensions, a.name)
if not s then return "" end
separateLanes(bull, turns)
local some = redis.call("ZRANGEBYSCORE", bull .. "prioritized", a.from, "+inf", "WITHSCORES", "LIMIT", 0, a.limit)
local ids, held, delayed = {}, {}, {}
local due = whole((a.clock + s.maxMs) * 4096)
for i = 1, #some, 2 do
  local id = some[i]
  local isMeant = string.sub(id, 1, #a.ofProject) == a.ofProject
  if isMeant and a.word ~= "" then
    isMeant = string.find(redis.call("HGET", bull .. id, "data") or "", a.word, 1, true) ~= nil
  end
  if isMeant then
    table.insert(ids, id)
    local priority = math.floor(tonumber(some[i + 1]) / SHIFTED)
    table.insert(held, whole(orderAt(priority, priority >= BULK_FIRST)))
    table.insert(held, id)
    table.insert(delayed, due)
    table.insert(delayed, id)
  end
end
if #ids > 0 then
  redis.call("ZREM", bull .. "prioritized", unpack(ids))
  redis.call("ZADD", bull .. "delayed", unpack(delayed))
  redis.call("ZADD", heldOf .. a.name, unpack(held))
end
if #some < 2 * a.limit then return "" end
return "(" .. some[#some]`

/**
 * Puts up to `limit` archives of a suspension that has ended back in line, in their order, from virtual time on. Hands over
 * archives that another suspension of the project affects as well. Returns how many are left, or -1 if the suspension has begun
 * again.
 */
export const RELEASE = `${COMMON}${FAIR_QUEUE}
local s = readAt(suspensions, a.name)
if not s or not s.ending then return -1 end
local held = heldOf .. a.name
local some = redis.call("ZRANGE", held, 0, a.limit - 1, "WITHSCORES")
if #some == 0 then
  redis.call("HDEL", suspensions, a.name)
  return 0
end
redis.call("ZREMRANGEBYRANK", held, 0, #some / 2 - 1)

local other
for _, candidate in ipairs(a.others) do
  local c = readAt(suspensions, candidate)
  if c and not c.ending then other = candidate end
end
if other then
  local moved = {}
  for i = 1, #some, 2 do
    table.insert(moved, some[i + 1])
    table.insert(moved, some[i])
  end
  redis.call("ZADD", heldOf .. other, unpack(moved))
else
  separateLanes(bull, turns)
  -- How far the orders of a lane are from its present line. Restores the line, distances included, but from virtual time on: neither
  -- ahead of all others nor behind them.
  local function shiftOf(bulk)
    local field, floor = bulk and "bulkShift" or "shift", bulk and BULK_ORDER or 0
    if not s[field] then
      local lane = laneOf(turns, bulk)
      local clock, _, own = virtualTime(bull, lane, a.project)
      local function isMeant(order) return order > floor and (order >= BULK_ORDER) == bulk end
      local most = bulk and "+inf" or "(" .. whole(BULK_ORDER)
      local first = redis.call("ZRANGEBYSCORE", held, "(" .. whole(floor), most, "WITHSCORES", "LIMIT", 0, 1)
      local firstOrder = tonumber(first[2] or floor)
      for i = #some - 1, 1, -2 do
        if isMeant(tonumber(some[i + 1])) then firstOrder = tonumber(some[i + 1]) end
      end
      s[field] = firstOrder - floor - base(bulk) - 1 - clock
      redis.call("HSET", lane.tags, a.project, whole(math.max(own - s[field], clock)))
    end
    return s[field] + floor + base(bulk)
  end
  local function priorityAt(order)
    local bulk = order >= BULK_ORDER
    return laneOf(turns, bulk).first - 1 + math.min(math.max(order - shiftOf(bulk), 1), LANE_TAGS)
  end
  local ids, dues = {}, {}
  for i = 1, #some, 2 do table.insert(ids, some[i]) end
  dues = redis.call("ZMSCORE", bull .. "delayed", unpack(ids))
  local back, line = {}, {}
  for i, id in ipairs(ids) do
    if dues[i] then
      local job = bull .. id
      local priority = priorityAt(tonumber(some[2 * i]))
      local known = redis.call("HGET", job, "heldSince")
      local since = tonumber(known or math.floor(tonumber(dues[i]) / 4096) - s.maxMs)
      redis.call("HINCRBY", job, "held", whole(math.max(a.clock - since, 0)))
      if known then redis.call("HDEL", job, "heldSince") end
      redis.call("HSET", job, "priority", whole(priority))
      table.insert(back, id)
      table.insert(line, priority)
    end
  end
  if #back > 0 then
    local count = redis.call("INCRBY", bull .. "pc", #back) - #back
    local scored = {}
    for i, id in ipairs(back) do
      table.insert(scored, scoreOf(line[i], (count + i) % SHIFTED))
      table.insert(scored, id)
    end
    redis.call("ZREM", bull .. "delayed", unpack(back))
    redis.call("ZADD", bull .. "prioritized", unpack(scored))
    wake(bull, false)
  end
end
local left = redis.call("ZCARD", held)
if left == 0 then redis.call("HDEL", suspensions, a.name) else write(a.name, s) end
return left`
