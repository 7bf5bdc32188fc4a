/** What Redis knows about jobs, each read in one step. */

import { checkpointKey, heldKey, queueKey, suspensionsKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"

/** As the script returns it. Times are milliseconds since the epoch. */
export interface JobFacts {
  readonly place: "waiting" | "running" | "delayed" | "dead" | "completed" | "orphaned"
  readonly fields: Readonly<Partial<Record<(typeof FIELDS)[number], string>>>
  /** Whether its data are a JSON object. */
  readonly hasPayload: boolean
  /** From its data, unchecked. The rest of its data, such as the password, stays in Redis. */
  readonly payload: {
    readonly size?: number
    readonly status?: string
    readonly receivedAt?: string
    readonly lane?: string
    readonly sourceKey?: string
  }
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
  ...(["timestamp", "processedOn", "finishedOn", "atm", "failedReason", "pb", "stc", "returnvalue"] as const),
  ...(["missingSince", "archivedSince", "heldSince"] as const),
] as const

const SIDES_IN_LUA = `{ "source", "destination", "keys", "vendor" }`

/**
 * KEYS: prefixes of BullMQ's keys, of the held archives' keys and of checkpoints, and suspensions. ARGV: ids of jobs. Returns for
 * each its `JobFacts` as JSON, or "" if there is no such job.
 */
const READ_JOBS = `
local bull, heldOf, checkpoints, suspensions = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local function typeOf(key) return redis.call("TYPE", key).ok end
local function text(value) return type(value) == "string" and value or nil end

local function read(id)
local job, checkpoint = bull .. id, checkpoints .. id
if typeOf(job) ~= "hash" then return "" end

local facts = { place = "orphaned", fields = {}, partsWritten = 0, lockMs = redis.call("PTTL", job .. ":lock") }
for _, name in ipairs({ ${FIELDS.map((name) => `"${name}"`).join(", ")} }) do
  local value = redis.call("HGET", job, name)
  if value then facts.fields[name] = value end
end
local readable, data = pcall(cjson.decode, redis.call("HGET", job, "data") or "null")
facts.hasPayload = readable and type(data) == "table"
facts.payload = {}
if facts.hasPayload then
  facts.payload.size = type(data.size) == "number" and data.size or nil
  facts.payload.status, facts.payload.receivedAt = text(data.status), text(data.receivedAt)
  facts.payload.lane, facts.payload.sourceKey = text(data.lane), text(data.sourceKey)
end

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
  -- All other fields are receipts, up to 10,000 of them.
  facts.partsWritten = redis.call("HLEN", checkpoint)
  for _, field in ipairs({ "upload", "record" }) do
    facts.partsWritten = facts.partsWritten - redis.call("HEXISTS", checkpoint, field)
  end
end
return cjson.encode(facts)
end

local answers = {}
for i, id in ipairs(ARGV) do answers[i] = read(id) end
return answers`

/** A script is sent once, and then named by its hash. */
const COMMAND = "unsealReadJobs"

/** The facts of each of `jobIds`, in this order; `null` for those that don't exist. One command. */
export async function readJobFacts(
  connection: RedisClient,
  queue: string,
  jobIds: readonly string[],
): Promise<(JobFacts | null)[]> {
  if (jobIds.length === 0) return []
  if (!(COMMAND in connection)) connection.defineCommand(COMMAND, { numberOfKeys: 4, lua: READ_JOBS })
  const keys = [queueKey(queue, ""), heldKey(queue, ""), checkpointKey(queue, ""), suspensionsKey(queue)]
  const answers: string[] = await Reflect.get(connection, COMMAND).call(connection, ...keys, ...jobIds)
  return answers.map((text) => (text === "" ? null : (JSON.parse(text) as JobFacts)))
}
