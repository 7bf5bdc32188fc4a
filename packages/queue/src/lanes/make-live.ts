/**
 * A live callback for an archive that is in the queue as bulk makes its job live, wherever it is, so that nobody has to wait
 * behind a backlog of years. The job takes the callback's payload, whose URL and size are newer, and counts as added now. It
 * keeps its nonce, because the callback is a duplicate, and so is each repetition of it.
 *
 * `hasEnded(id)`: whether the job is a dead letter, or completed.
 * `makeLive(id, project, units, data, held)`: `held` are the job's data and `data` the callback's. Returns the job's new data.
 *
 * A job in line moves to the live line, and one that is delayed or held will return there. A probe stays a probe. The script that
 * includes this must have declared `prefix`, `tags`, `heldOf`, `counters`, `unfinished`, `now`, `addedBulk`.
 */
export const MAKE_LIVE = `
local NONCE = '"nonce":("[^"\\\\]*")'

local function hasEnded(id)
  return redis.call("ZSCORE", prefix .. "completed", id) or redis.call("ZSCORE", prefix .. "failed", id)
end

local function liveData(data, held)
  local nonce = string.match(held, NONCE)
  if nonce and string.find(data, NONCE) then
    return (string.gsub(data, NONCE, function() return '"nonce":' .. nonce end, 1))
  end
  return (string.gsub(string.gsub(held, '"lane":"bulk",', "", 1), ',"lane":"bulk"', "", 1))
end

local function makeLive(id, project, units, data, held)
  local job = prefix .. id
  local renewed = liveData(data, held)
  redis.call("HSET", job, "data", renewed, "timestamp", now)
  local bytes = tonumber(redis.call("HGET", job, "bytes") or nil)
  if bytes then addedBulk = addedBulk - bytes end
  redis.call("ZREM", unfinished .. ":bulk", id)
  redis.call("ZADD", unfinished, now, id)

  local priority = nextStartTag(prefix, tags, false, project, units)
  if redis.call("ZREM", prefix .. "prioritized", id) == 1 then
    local count = redis.call("INCR", prefix .. "pc")
    redis.call("ZADD", prefix .. "prioritized", scoreOf(priority, count % SHIFTED), id)
    wake(prefix, false)
  end
  -- 0: at the head of all, or a probe, which will return there.
  if redis.call("HGET", job, "priority") ~= "0" then redis.call("HSET", job, "priority", priority) end
  local order = string.format("%.0f", tonumber(redis.call("HGET", tags, "base") or 0) + priority)
  for _, side in ipairs({ "source", "destination", "keys", "vendor" }) do
    local name = heldOf .. project .. ":" .. side
    if redis.call("ZSCORE", name, id) then redis.call("ZADD", name, order, id) end
  end
  return renewed
end
`
