/**
 * Enqueues jobs. BullMQ's script that adds a job runs as a function within ours, which gives the job its start tag and counts it.
 * A command costs the client more than a job in it does, so one command adds any number of jobs. And no job ever exists without
 * its start tag and its place in the accounts.
 */

import type { JobsOptions, Queue } from "bullmq"
import { type AddScript, addScriptFor } from "../bullmq/inside.ts"
import { laneOf } from "../jobs/lane.ts"
import { IS_ORPHANED } from "../jobs/orphaned-job.ts"
import { MAKE_LIVE } from "../lanes/make-live.ts"
import { checkpointKey, countersKey, heldKey, queueKey, turnsKey, unfinishedKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import { backlogBytesOf, FAIR_QUEUE, unitsOf } from "./fair-queue.ts"

/** A job to be added. A dead letter's payload may be malformed. */
export interface NewJob {
  readonly payload: Readonly<Partial<Record<"projectId" | "size" | "nonce" | "lane", unknown>>>
  readonly options: JobsOptions & { readonly jobId: string }
}

/** The job that has the id afterwards: this one; another callback's; or one that has lost its payload and can't be decrypted. */
export type AddedJob = "this" | "other" | "empty"

const ANSWERS: readonly AddedJob[] = ["empty", "other", "this"]

/**
 * KEYS: those of BullMQ's script, counters, finish tags, unfinished jobs.
 * ARGV: prefixes of the keys of jobs, of checkpoints and of held archives, the dead letter that the only job replaces or "", "1" if
 * callbacks bring the jobs;
 * for each job: id, lane, nonce as in JSON, project, units, bytes, and BullMQ's three arguments, the last of them the job's options.
 * Returns an index into ANSWERS for each job. A job's bytes join the backlog (backlog.ts) when it joins the line.
 *
 * Puts an orphaned job back in line with its attempts. It keeps its payload, unless that has lost its password. It is counted if
 * an interrupted addition left it uncounted. An existing bulk job becomes live if the new one is live.
 */
const enqueueScript = ({ lua, keys }: AddScript): string => `
local function addJob(KEYS, ARGV)
${lua}
end
${IS_ORPHANED}${FAIR_QUEUE}
local EMPTY, OTHER, THIS = 0, 1, 2
local counters, tags, unfinished = KEYS[${keys.length + 1}], KEYS[${keys.length + 2}], KEYS[${keys.length + 3}]
local prefix, checkpoints, heldOf, replaced = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local added, addedBulk = 0, 0
local t = redis.call("TIME")
local now = string.format("%.0f", t[1] * 1000 + math.floor(t[2] / 1000))
if ARGV[5] == "1" then redis.call("HSET", counters, "callbackAt", now) end
${MAKE_LIVE}
local function putBackInLine(id, priority)
  local count = redis.call("INCR", prefix .. "pc")
  redis.call("ZADD", prefix .. "prioritized", scoreOf(priority, count % SHIFTED), id)
  redis.call("HSET", prefix .. id, "priority", priority)
end

-- Removes a job that has lost its payload, to make room for a callback, which has all that is needed. True if it was completed: the
-- new job then counts as accepted anew. In any other state the old job lives on as the new one.
local function makeRoom(id)
  for _, set in ipairs({ "prioritized", "delayed", "failed" }) do redis.call("ZREM", prefix .. set, id) end
  for _, list in ipairs({ "active", "wait", "paused" }) do redis.call("LREM", prefix .. list, 0, id) end
  added = added - (tonumber(redis.call("HGET", prefix .. id, "bytes") or 0) or 0)
  for _, suffix in ipairs({ "", ":bulk" }) do redis.call("ZREM", unfinished .. suffix, id) end
  redis.call("DEL", prefix .. id, prefix .. id .. ":lock")
  return redis.call("ZREM", prefix .. "completed", id) == 1
end

-- A dead letter that was discarded meanwhile, or was redriven and has finished, must not return.
if replaced ~= "" and not redis.call("ZSCORE", prefix .. "failed", replaced) and redis.call("EXISTS", prefix .. ARGV[6]) == 0 then
  return {}
end
-- Happens before the job can start, so that it need not write parts again.
if replaced ~= "" then redis.call("COPY", checkpoints .. replaced, checkpoints .. ARGV[6]) end

local answers = {}
for i = 6, #ARGV, 9 do
  local id, lane, nonce, project, units, bytes, described, data, options = unpack(ARGV, i, i + 8)
  units = tonumber(units)
  local job = prefix .. id
  local isThere = redis.call("EXISTS", job) == 1
  local held = isThere and redis.call("HGET", job, "data")
  local answer, isCounted = THIS, false
  if isThere and not held and replaced == "" then
    isCounted = not makeRoom(id)
    isThere = false
  end
  if held and lane == "live" and saysBulk(held) and not hasEnded(id) then
    held = makeLive(id, project, units, data, held)
  end
  if isThere and not held then
    answer = EMPTY
  elseif isThere and not isOrphaned(prefix, id) then
    answer = string.find(held, '"nonce":' .. nonce, 1, true) and THIS or OTHER
  else
    local bulk = saysBulk(held or data)
    local priority = nextStartTag(prefix, tags, bulk, project, units)
    if isThere then
      -- Its completion was interrupted, after it had removed the password.
      if not string.find(held, '"encryptedPassword":', 1, true) then
        redis.call("HSET", job, "data", data)
        redis.call("HDEL", job, "returnvalue", "finishedOn")
      end
      putBackInLine(id, priority)
    else
      options = cmsgpack.unpack(options)
      options.priority = priority
      addJob(KEYS, { described, data, cmsgpack.pack(options) })
    end
    wake(prefix, bulk)
    redis.call("ZADD", bulk and unfinished .. ":bulk" or unfinished, "NX", now, id)
    if redis.call("HSETNX", job, "bytes", bytes) == 1 then
      added = added + tonumber(bytes)
      if bulk then addedBulk = addedBulk + tonumber(bytes) end
    end
  end
  local isNew = answer ~= EMPTY and redis.call("HSETNX", job, "counted", 1) == 1
  if isNew and replaced == "" and not isCounted then redis.call("HINCRBY", counters, "accepted", 1) end
  table.insert(answers, answer)
end
if added ~= 0 then redis.pcall("HINCRBY", counters, "bytes", string.format("%.0f", added)) end
if addedBulk ~= 0 then redis.pcall("HINCRBY", counters, "bulkBytes", string.format("%.0f", addedBulk)) end

if replaced ~= "" and answers[1] ~= EMPTY then
  redis.call("ZREM", prefix .. "failed", replaced)
  redis.call("DEL", prefix .. replaced, prefix .. replaced .. ":logs", checkpoints .. replaced)
end
return answers`

const COMMAND = "unsealAddJobs"

export interface AddOptions {
  /** The id of the dead letter whose place the only job takes. */
  readonly replaced?: string
  /** Whether callbacks that have just arrived bring the jobs: then the time of the last one is noted. */
  readonly areCallbacks?: boolean
}

/**
 * Enqueues `jobs`, which must not be empty, by their projects' start tags, unless they are there already, and counts them as
 * accepted. With `replaced`, one job takes the place of that dead letter and its checkpoint; the dead letter stays if the existing
 * job has lost its payload. Resolves for each job to the one that is in the queue afterwards. Resolves to an empty list if the
 * dead letter is gone and no job took its place.
 */
export async function addJobs(
  connection: RedisClient,
  queue: Queue,
  jobs: readonly NewJob[],
  { replaced = "", areCallbacks = false }: AddOptions = {},
): Promise<AddedJob[]> {
  const { name } = queue
  const { script, given } = await addScriptFor(connection, queue, jobs)
  if (!(COMMAND in connection))
    connection.defineCommand(COMMAND, { numberOfKeys: script.keys.length + 3, lua: enqueueScript(script) })
  const answers: number[] = await Reflect.get(connection, COMMAND).apply(connection, [
    ...[...script.keys, countersKey(name), turnsKey(name), unfinishedKey(name, "live")],
    ...[queueKey(name, ""), checkpointKey(name, ""), heldKey(name, ""), replaced, areCallbacks ? 1 : 0],
    ...jobs.flatMap(({ payload, options: { jobId } }, index) => {
      const { projectId, size, nonce } = payload
      return [
        ...[jobId, laneOf(payload), JSON.stringify(nonce) ?? '""', String(projectId)],
        ...[unitsOf, backlogBytesOf].map((costOf) => costOf(typeof size === "number" ? size : undefined)),
        ...given[index]!,
      ]
    }),
  ])
  return answers.map((answer) => ANSWERS[answer]!)
}
