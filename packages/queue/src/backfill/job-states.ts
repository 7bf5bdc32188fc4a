/** The states of many archives' jobs, in few commands. */
import { MAX_REDRIVES } from "../jobs/find-job.ts"
import { firstIdOf } from "../jobs/redrive-id.ts"
import { discardedKey, queueKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import { codeOf, type FailureCode } from "../run/ending.ts"

/** The state of an archive's job, or of the one that it was redriven as. */
export type JobOfArchive =
  /** There is no job: it was never enqueued, or was completed more than an hour ago, or Redis lost it. */
  | { readonly state: "none" }
  | { readonly state: "waiting" | "active" | "delayed"; readonly jobId: string }
  /** Within the last hour. `nextId` is the unused id for a job that starts again. */
  | { readonly state: "completed"; readonly jobId: string; readonly nextId: string }
  | { readonly state: "dead"; readonly jobId: string; readonly code: FailureCode; readonly reason: string }
  /** An operator discarded its dead letter at `discardedAt`, in milliseconds since the epoch. */
  | { readonly state: "discarded"; readonly discardedAt: number }

/**
 * KEYS: prefix of BullMQ's keys, discarded jobs. ARGV: the most redrives, ids. Returns for each id a state, a job's id, a next
 * number or a time, and a reason.
 */
const READ = `
local prefix, discarded, most = KEYS[1], KEYS[2], tonumber(ARGV[1])
local function stateOf(id)
  if redis.call("EXISTS", prefix .. id) == 0 then return nil end
  if redis.call("ZSCORE", prefix .. "prioritized", id) then return "waiting" end
  if redis.call("ZSCORE", prefix .. "delayed", id) then return "delayed" end
  if redis.call("ZSCORE", prefix .. "completed", id) then return "completed" end
  if redis.call("ZSCORE", prefix .. "failed", id) then return "dead" end
  if redis.call("LPOS", prefix .. "active", id) then return "active" end
  for _, list in ipairs({ "wait", "paused" }) do
    if redis.call("LPOS", prefix .. list, id) then return "waiting" end
  end
  -- Orphaned: whoever adds the job puts it back in line.
  return nil
end
local function isLive(state) return state == "waiting" or state == "active" or state == "delayed" end

local function read(first)
  local state = stateOf(first)
  if isLive(state) then return { state, first, "0", "" } end
  local found = { dead = state == "dead" and first or nil, completed = state == "completed" and first or nil }
  local newest = state and 1 or 0
  for number = 2, most do
    local id = first .. "_r" .. number
    local other = stateOf(id)
    if isLive(other) then return { other, id, "0", "" } end
    if other then
      found[other], newest = id, number
    end
  end
  if found.dead then
    return { "dead", found.dead, "0", redis.call("HGET", prefix .. found.dead, "failedReason") or "" }
  end
  if found.completed then return { "completed", found.completed, tostring(newest + 1), "" } end
  local at = redis.call("ZSCORE", discarded, first)
  if at then return { "discarded", first, tostring(at), "" } end
  return { "none", first, "0", "" }
end

local answers = {}
for i = 2, #ARGV do table.insert(answers, read(ARGV[i])) end
return answers`

/** How many jobs Redis looks at per command. That takes it a few milliseconds. */
const AT_ONCE = 100

/** The states of the jobs that `jobIdOf` names, in this order. */
export async function readJobStates(
  connection: RedisClient,
  queue: string,
  jobIds: readonly string[],
): Promise<JobOfArchive[]> {
  const states: JobOfArchive[] = []
  for (let at = 0; at < jobIds.length; at += AT_ONCE) {
    const ids = jobIds.slice(at, at + AT_ONCE)
    const keys = [queueKey(queue, ""), discardedKey(queue)]
    const answers = (await connection.eval(READ, keys.length, ...keys, MAX_REDRIVES, ...ids)) as Answer[]
    states.push(...answers.map(stateIn))
  }
  return states
}

type Answer = [state: JobOfArchive["state"], jobId: string, number: string, reason: string]

function stateIn([state, jobId, number, text]: Answer): JobOfArchive {
  if (state === "none") return { state }
  if (state === "discarded") return { state, discardedAt: Number(number) * 1_000 }
  if (state === "completed") return { state, jobId, nextId: `${firstIdOf(jobId)}_r${number}` }
  if (state !== "dead") return { state, jobId }
  const reason = text || "ERR_JOB_INVALID: the reason is lost"
  return { state, jobId, code: codeOf(reason), reason }
}
