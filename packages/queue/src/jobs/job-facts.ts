/** What Redis knows about one job, read in one step. */

/** As the script returns it. Times are milliseconds since the epoch. */
export interface JobFacts {
  readonly place: "waiting" | "running" | "delayed" | "dead" | "completed" | "orphaned"
  readonly fields: Readonly<Partial<Record<(typeof FIELDS)[number], string>>>
  /** Whether its data are a JSON object. */
  readonly hasPayload: boolean
  /** Jobs before it in line. */
  readonly ahead?: number
  /** When it leaves `delayed`. */
  readonly due?: number
  /** The rest of its lock's time; 0 or less without one. */
  readonly lockMs: number
  /** `PROJECT:SIDE` of the suspension that holds it, how long that may hold an archive, and the job that is tried next. */
  readonly held?: string
  readonly maxMs?: number
  readonly probe?: string
  /** From its checkpoint: the upload as JSON, and how many parts have a receipt. */
  readonly upload?: string
  readonly partsWritten: number
}

/** BullMQ's names, and the queue's own (late.ts, suspension-scripts.ts). */
const FIELDS = [
  ...(["timestamp", "processedOn", "finishedOn", "atm", "failedReason", "pb", "stc"] as const),
  ...(["missingSince", "archivedSince", "heldSince"] as const),
] as const

const SIDES_IN_LUA = `{ "source", "destination", "keys", "vendor" }`

/**
 * KEYS: prefix of BullMQ's keys, prefix of the held archives' keys, suspensions, checkpoint. ARGV: job id. Returns `JobFacts` as
 * JSON.
 */
export const READ_JOB = `
local bull, heldOf, suspensions, checkpoint, id = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1]
local job = bull .. id
local function typeOf(key) return redis.call("TYPE", key).ok end
if typeOf(job) ~= "hash" then return false end

local facts = { place = "orphaned", fields = {}, partsWritten = 0, lockMs = redis.call("PTTL", job .. ":lock") }
for _, name in ipairs({ ${FIELDS.map((name) => `"${name}"`).join(", ")} }) do
  local value = redis.call("HGET", job, name)
  if value then facts.fields[name] = value end
end
local readable, data = pcall(cjson.decode, redis.call("HGET", job, "data") or "null")
facts.hasPayload = readable and type(data) == "table"

local function isIn(set) return redis.call("ZSCORE", bull .. set, id) end
local due = isIn("delayed")
if due then
  facts.place, facts.due = "delayed", math.floor(tonumber(due) / 4096)
elseif isIn("failed") then facts.place = "dead"
elseif isIn("completed") then facts.place = "completed"
elseif redis.call("LPOS", bull .. "active", id) then facts.place = "running"
elseif isIn("prioritized") then
  facts.place = "waiting"
  facts.ahead = redis.call("LLEN", bull .. "wait") + redis.call("ZRANK", bull .. "prioritized", id)
else
  for _, list in ipairs({ "wait", "paused" }) do
    local at = redis.call("LPOS", bull .. list, id)
    if at then
      facts.place = "waiting"
      facts.ahead = redis.call("LLEN", bull .. list) - 1 - at
    end
  end
end

local project = string.match(id, "^[^_]*")
for _, side in ipairs(${SIDES_IN_LUA}) do
  local name = project .. ":" .. side
  if due and redis.call("ZSCORE", heldOf .. name, id) then
    local text = redis.call("HGET", suspensions, name)
    local s = text and cjson.decode(text) or {}
    facts.held, facts.maxMs, facts.probe = name, s.maxMs, s.probe
  end
end

if typeOf(checkpoint) == "hash" then
  facts.upload = redis.call("HGET", checkpoint, "upload") or nil
  for _, field in ipairs(redis.call("HKEYS", checkpoint)) do
    if string.sub(field, 1, 5) == "part:" then facts.partsWritten = facts.partsWritten + 1 end
  end
end
return cjson.encode(facts)`
