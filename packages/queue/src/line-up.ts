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
 * What BullMQ leaves to do once it has added jobs, or found them there: a new one is counted and gets its turn.
 * KEYS: counters, turns.
 * ARGV: prefix of the jobs' keys, 1 if this is an acceptance, last priority; of each job: id, nonce as in JSON, project, units.
 * Gives for each 1 if the job is this one, 0 if it is an earlier one, -1 if there is none.
 *
 * A stray is lined up again, with its payload and its attempts. It has been counted, unless its addition was torn before that.
 */
const LINE_UP = `${IS_STRAY}${TAKE_TURN}
local prefix, isAcceptance, last = ARGV[1], ARGV[2] == "1", tonumber(ARGV[3])
local prioritized = prefix .. "prioritized"
local answers, scores = {}, {}

-- Who comes takes the turn; nobody is behind a place that is only held. So all leave their places before any takes its turn.
local function leavePlace(id)
  local isNew = redis.call("HSETNX", prefix .. id, "counted", 1) == 1
  if isNew and isAcceptance then redis.call("HINCRBY", KEYS[1], "accepted", 1) end
  local score = isNew and redis.call("ZSCORE", prioritized, id)
  if score then
    redis.call("ZREM", prioritized, id)
  elseif isStray(prefix, id) then
    score = redis.call("INCR", prefix .. "pc")
    redis.call("ZADD", prefix .. "marker", 0, "0")
  end
  return score
end

for i = 4, #ARGV, 4 do
  local id, nonce = ARGV[i], ARGV[i + 1]
  local answer = -1
  if redis.call("EXISTS", prefix .. id) == 1 then
    local score = not scores[id] and leavePlace(id)
    if score then scores[id], answer = score, 1
    else
      answer = string.find(redis.call("HGET", prefix .. id, "data"), '"nonce":' .. nonce, 1, true) and 1 or 0
    end
  end
  table.insert(answers, answer)
end
for i = 4, #ARGV, 4 do
  local id = ARGV[i]
  local score = scores[id]
  if score then
    scores[id] = nil
    local priority = takeTurn(prefix, KEYS[2], ARGV[i + 2], tonumber(ARGV[i + 3]), last)
    redis.call("ZADD", prioritized, string.format("%.0f", priority * SHIFTED + score % SHIFTED), id)
    redis.call("HSET", prefix .. id, "priority", priority)
  end
end
return answers`

interface Scripted {
  unsealLineUp(...parameters: (string | number)[]): unknown
}

/** Makes `lineUp` possible in transactions of `connection`: resolves when BullMQ's scripts are known to it, and ours. */
export async function prepareToLineUp(connection: Redis, queue: Queue): Promise<void> {
  await queue.getBackend().client
  if (!("unsealLineUp" in connection))
    connection.defineCommand("unsealLineUp", { numberOfKeys: 2, lua: LINE_UP })
}

/**
 * Puts into `transaction` what adds jobs at their projects' turns, unless they are there: one command for each, and one that
 * gives what LINE_UP does. Until then a job holds the first place of all, which nobody sees: if a torn append-only file keeps it
 * there, it begins early. One for all, since a command costs more than a job in it does.
 */
export function lineUp(
  transaction: ChainableCommander,
  queue: Queue,
  jobs: readonly NewJob[],
  isAcceptance: boolean,
): void {
  // What a connection that BullMQ wrapped gives to its transactions: the way to its scripts.
  const runCommand = (script: string, args: unknown[]) =>
    Reflect.get(transaction, script).call(transaction, args)
  const scripted = Object.assign(transaction, { runCommand })
  for (const { payload, options } of jobs) {
    const job = new Job(queue, JOB_NAME, payload, { ...options, priority: 1 }, options.jobId)
    void job.addJob(scripted as never, {})
  }
  const places = jobs.flatMap(({ payload: { projectId, size, nonce }, options: { jobId } }) => [
    ...[jobId, JSON.stringify(nonce) ?? '""', String(projectId)],
    unitsOf(typeof size === "number" ? size : undefined),
  ])
  ;(transaction as unknown as Scripted).unsealLineUp(
    ...[countersKey(queue.name), turnsKey(queue.name)],
    ...[queueKey(queue.name, ""), isAcceptance ? 1 : 0, LAST_PRIORITY, ...places],
  )
}
