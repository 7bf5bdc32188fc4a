import { Job, type JobsOptions, type Queue } from "bullmq"
import type { ChainableCommander, Redis } from "ioredis"
import { countersKey, JOB_NAME, queueKey, turnsKey } from "./names.ts"
import { IS_STRAY } from "./stray.ts"
import { LAST_PRIORITY, TAKE_TURN, unitsOf } from "./turns.ts"

/** A job that is about to be added. A dead letter's payload may be malformed. */
export interface NewJob {
  readonly payload: { readonly projectId?: unknown; readonly size?: unknown; readonly nonce?: unknown }
  readonly options: JobsOptions & { readonly jobId: string }
}

/**
 * What BullMQ leaves to do once it has added a job, or found it there: a new one is counted and gets its turn.
 * KEYS: job, counters, turns.
 * ARGV: prefix of the jobs' keys, id, 1 if this is an acceptance, nonce as in JSON, project, units, last priority.
 * Gives 1 if the job is this one, 0 if it is an earlier one, `nil` if there is none.
 *
 * A stray is lined up again, with its payload and its attempts. It has been counted, unless its addition was torn before that.
 */
const LINE_UP = `${IS_STRAY}${TAKE_TURN}
local job, prefix, id = KEYS[1], ARGV[1], ARGV[2]
if redis.call("EXISTS", job) == 0 then return nil end
local isNew = redis.call("HSETNX", job, "counted", 1) == 1
if isNew and ARGV[3] == "1" then redis.call("HINCRBY", KEYS[2], "accepted", 1) end

local prioritized = prefix .. "prioritized"
local score = isNew and redis.call("ZSCORE", prioritized, id)
if score then
  -- Who comes takes the turn; nobody is behind a place that is only held.
  redis.call("ZREM", prioritized, id)
elseif isStray(prefix, id) then
  score = redis.call("INCR", prefix .. "pc")
  redis.call("ZADD", prefix .. "marker", 0, "0")
else
  return string.find(redis.call("HGET", job, "data"), '"nonce":' .. ARGV[4], 1, true) and 1 or 0
end
local priority = takeTurn(prefix, KEYS[3], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]))
redis.call("ZADD", prioritized, string.format("%.0f", priority * SHIFTED + score % SHIFTED), id)
redis.call("HSET", job, "priority", priority)
return 1`

interface Scripted {
  unsealLineUp(...parameters: (string | number)[]): unknown
}

/** Makes `lineUp` possible in transactions of `connection`: resolves when BullMQ's scripts are known to it, and ours. */
export async function prepareToLineUp(connection: Redis, queue: Queue): Promise<void> {
  await queue.getBackend().client
  if (!("unsealLineUp" in connection))
    connection.defineCommand("unsealLineUp", { numberOfKeys: 3, lua: LINE_UP })
}

/**
 * Puts into `transaction` what adds a job at its project's turn, unless it is there: two commands, of which the second gives
 * what LINE_UP does. Until then the job holds the first place of all, which nobody sees: if a torn append-only file keeps it
 * there, it begins early.
 */
export function lineUp(
  transaction: ChainableCommander,
  queue: Queue,
  { payload, options }: NewJob,
  isAcceptance: boolean,
): void {
  const { jobId } = options
  const { projectId, size, nonce } = payload
  // What a connection that BullMQ wrapped gives to its transactions: the way to its scripts.
  const runCommand = (script: string, args: unknown[]) =>
    Reflect.get(transaction, script).call(transaction, args)
  const job = new Job(queue, JOB_NAME, payload, { ...options, priority: 1 }, jobId)
  void job.addJob(Object.assign(transaction, { runCommand }) as never, {})
  ;(transaction as unknown as Scripted).unsealLineUp(
    ...[queueKey(queue.name, jobId), countersKey(queue.name), turnsKey(queue.name)],
    ...[queueKey(queue.name, ""), jobId, isAcceptance ? 1 : 0, JSON.stringify(nonce) ?? '""'],
    ...[String(projectId), unitsOf(typeof size === "number" ? size : undefined), LAST_PRIORITY],
  )
}
