/** `saysBulk(data)`: whether a job's data put it into the bulk lane. Within a string of JSON, quotes are escaped. */
export const SAYS_BULK = `
local function saysBulk(data) return type(data) == "string" and string.find(data, '"lane":"bulk"', 1, true) ~= nil end
`

/**
 * Where each lane's jobs are among BullMQ's priorities (fair-queue.ts), for all scripts that put jobs in line.
 *
 * Only a job's payload says which lane it belongs to: its priority in BullMQ does not, because that is 0 while the job is at the
 * head of all. Its tags are in a hash of the lane's, `…:turns` and `…:turns:bulk`.
 *
 * `isBulk(job)`: the lane of the job with that key.
 * `laneOf(tags, bulk)`: the lane's tags, first priority, and the range of its scores.
 * `headOf(prefix, lane)`: id and priority of the first in its line, or nil.
 * `moveBack(prefix, lane, by, isMeant)`: moves tags and jobs of the lane towards its first priority; a job beyond its last becomes the
 * last. `isMeant` is given a job's priority and id.
 * `separateLanes(prefix, tags)`: moves the jobs of version 0.1.0 into the live half, once. Then each job is in its lane's half,
 * even if the tags are lost later. `toHeadOf(prefix, lane, id)`: puts a job that is in no line before all others of its lane.
 * `wake(prefix, bulk)`: wakes an idle worker for a job of that lane. For a live job, it also wakes workers that take no bulk job
 * now.
 */
export const LANE_LINES = `${SAYS_BULK}
local SHIFTED, BULK_FIRST, LANE_TAGS = 0x100000000, 0x100000, 0xFFFFF
local function scoreOf(priority, count) return string.format("%.0f", priority * SHIFTED + count) end

local function isBulk(job) return saysBulk(redis.call("HGET", job, "data")) end

local function laneOf(tags, bulk)
  local border = scoreOf(BULK_FIRST, 0)
  if bulk then return { tags = tags .. ":bulk", first = BULK_FIRST, from = border, to = "+inf" } end
  return { tags = tags, first = 1, from = "-inf", to = "(" .. border }
end

local function headOf(prefix, lane)
  local found = redis.call("ZRANGEBYSCORE", prefix .. "prioritized", lane.from, lane.to, "WITHSCORES", "LIMIT", 0, 1)
  if #found == 0 then return nil end
  return { id = found[1], priority = math.floor(tonumber(found[2]) / SHIFTED) }
end

local function moveBack(prefix, lane, by, isMeant)
  local prioritized = prefix .. "prioritized"
  local function moved(priority) return math.min(math.max(priority - by, lane.first), lane.first + LANE_TAGS - 1) end
  local function moveField(id)
    local priority = tonumber(redis.call("HGET", prefix .. id, "priority") or 0)
    if priority > 0 and isMeant(priority, id) then redis.call("HSET", prefix .. id, "priority", moved(priority)) end
  end
  for from = 0, redis.call("ZCARD", prioritized) - 1, 1000 do
    -- All move by the same amount, so they keep their order, and ranks stay valid meanwhile.
    local some = redis.call("ZRANGE", prioritized, from, from + 999, "WITHSCORES")
    for i = 1, #some, 2 do
      local score = tonumber(some[i + 1])
      local priority = math.floor(score / SHIFTED)
      if isMeant(priority, some[i]) then
        redis.call("ZADD", prioritized, scoreOf(moved(priority), score % SHIFTED), some[i])
        moveField(some[i])
      end
    end
  end
  for _, id in ipairs(redis.call("ZRANGE", prefix .. "delayed", 0, -1)) do moveField(id) end
  for _, id in ipairs(redis.call("LRANGE", prefix .. "active", 0, -1)) do moveField(id) end
  local entries = redis.call("HGETALL", lane.tags)
  for i = 1, #entries, 2 do
    local left = tonumber(entries[i + 1]) - by
    if entries[i] == "at" or entries[i] == "base" or entries[i] == "lanes" or entries[i] == "credit" then
    elseif left <= 0 then redis.call("HDEL", lane.tags, entries[i])
    else redis.call("HSET", lane.tags, entries[i], left) end
  end
  redis.call("HINCRBY", lane.tags, "base", string.format("%.0f", by))
end

local function separateLanes(prefix, tags)
  if redis.call("HSETNX", tags, "lanes", 1) == 0 then return end
  local function isLive(priority, id) return priority < BULK_FIRST or not isBulk(prefix .. id) end
  local function isBeyond(id)
    return tonumber(redis.call("HGET", prefix .. id, "priority") or 0) >= BULK_FIRST and not isBulk(prefix .. id)
  end
  local function anyBeyond(ids)
    for _, id in ipairs(ids) do if isBeyond(id) then return true end end
    return false
  end
  local last = redis.call("ZRANGEBYSCORE", prefix .. "prioritized", scoreOf(BULK_FIRST, 0), "+inf")
  if not anyBeyond(last) and not anyBeyond(redis.call("ZRANGE", prefix .. "delayed", 0, -1))
    and not anyBeyond(redis.call("LRANGE", prefix .. "active", 0, -1)) then return end
  local by = tonumber(redis.call("HGET", tags, "clock") or 0)
  local head = headOf(prefix, { from = "-inf", to = "+inf" })
  if head and isLive(head.priority, head.id) then by = math.max(by, head.priority - 2) end
  moveBack(prefix, laneOf(tags, false), by, isLive)
end

local function wake(prefix, bulk)
  redis.call("ZADD", prefix .. "marker", 0, "0")
  if not bulk then redis.call("ZADD", prefix .. "marker:live", 0, "0") end
end

local function toHeadOf(prefix, lane, id)
  local head = headOf(prefix, lane)
  local priority = head and head.priority or math.max(tonumber(redis.call("HGET", prefix .. id, "priority") or 0), lane.first)
  redis.call("HSET", prefix .. id, "priority", priority)
  redis.call("ZADD", prefix .. "prioritized", scoreOf(priority, 0), id)
  wake(prefix, priority >= BULK_FIRST)
end
`
