/**
 * How projects take turns: start-time fair queueing (Goyal, Vin and Cheng, 1996) as BullMQ priorities, in bytes.
 *
 * A virtual clock stands at the job that is next in line. A job's turn is the clock, or where its project's last job ended,
 * whichever is later; it ends its size further on. So a project that comes with ten archives stands where the clock is, and
 * not behind the ten thousand of another: from there on the two alternate, byte for byte. What a project took while nobody
 * else wanted it is not held against it. Within a project, archives keep the order in which they came; one that failed, or
 * whose object is not there yet, goes to the end of its project's line, and one that is handed back to the head of all.
 *
 * The other way, a count of each project's backlog, needs a decrement when a job ends, drifts whenever a process dies in
 * between, and lets a project that keeps its backlog short always go first. Here nothing is decremented: the clock is read
 * off the queue itself, and an entry that is lost or wrong is overtaken by the clock.
 *
 * BullMQ's priorities end at 2^21 - 1, so turns are counted in units, and everything that waits is moved back towards 1 when
 * the clock has passed half of that: once in 128 TiB, if the queue is never empty for so long.
 */
import type { Job } from "bullmq"
import type { ChainableCommander, Redis } from "ioredis"
import type { JobPayload } from "./job.ts"
import { countersKey, queueKey, turnsKey } from "./names.ts"
import { IS_STRAY } from "./stray.ts"
import { transact } from "./transact.ts"

/** One unit: what an archive costs at least, as its requests do. Archives differ by more than they lose by rounding. */
const UNIT_BYTES = 128 * 1024 * 1024
/** An archive whose callback does not tell its size counts as a typical one of 1 GiB. */
const USUAL_UNITS = 8
/** 64 GiB: no size that a callback claims buys its project a place beyond all reach. */
const MAX_UNITS = 512
const LAST_PRIORITY = 2 ** 21 - 1
/** Longer than it takes a producer to add a job, once it has its turn. */
const QUIET_SECONDS = 5

/**
 * KEYS: turns, prioritized, delayed, active, job, counters.
 * ARGV: project, units, last priority, prefix of the jobs' keys, the job's id, 1 if it must not exist yet.
 * Gives the priority, or 0 if the job exists; a stray is removed, and was never accepted. Turns are counted from 0, priorities
 * from 1.
 */
const TAKE_TURN = `${IS_STRAY}
local turns, prioritized, delayed, active, job, counters = unpack(KEYS)
local project, units, last, prefix, id = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
if ARGV[6] == "1" and redis.call("EXISTS", job) == 1 then
  if not isStray(prefix, id) then return 0 end
  if redis.call("HGET", job, "counted") then redis.call("HINCRBY", counters, "accepted", -1) end
  redis.call("DEL", job)
end
local shifted = 0x100000000
local read = redis.call("HMGET", turns, "clock", "end", "at", project)
local clock, finish, at, own = tonumber(read[1] or 0), tonumber(read[2] or 0), tonumber(read[3] or 0), tonumber(read[4] or 0)

local head = redis.call("ZRANGE", prioritized, 0, 0, "WITHSCORES")
local idle = #head == 0
local second = tonumber(redis.call("TIME")[1])
if not idle then
  -- One before the next in line, where the job before it was: who comes now is not behind who comes next.
  clock = math.max(clock, math.floor(tonumber(head[2]) / shifted) - 2)
elseif second - at > QUIET_SECONDS then
  -- Everything was begun. Sooner than that, jobs that have their turn may still be on their way.
  clock = math.max(clock, finish)
end

if clock > last / 2 and (idle or math.max(clock, own) >= last) then
  local function moveBack(id)
    local priority = tonumber(redis.call("HGET", prefix .. id, "priority") or 0)
    if priority > 0 then redis.call("HSET", prefix .. id, "priority", math.max(priority - clock, 1)) end
  end
  for from = 0, redis.call("ZCARD", prioritized) - 1, 1000 do
    -- Moving all of them by the same keeps their order, so that ranks hold meanwhile.
    local some = redis.call("ZRANGE", prioritized, from, from + 999, "WITHSCORES")
    for i = 1, #some, 2 do
      local score = tonumber(some[i + 1])
      local priority = math.max(math.floor(score / shifted) - clock, 1)
      redis.call("ZADD", prioritized, string.format("%.0f", priority * shifted + score % shifted), some[i])
      moveBack(some[i])
    end
  end
  for _, id in ipairs(redis.call("ZRANGE", delayed, 0, -1)) do moveBack(id) end
  for _, id in ipairs(redis.call("LRANGE", active, 0, -1)) do moveBack(id) end
  local entries = redis.call("HGETALL", turns)
  for i = 1, #entries, 2 do
    local left = tonumber(entries[i + 1]) - clock
    if left <= 0 then redis.call("HDEL", turns, entries[i])
    elseif entries[i] ~= "at" then redis.call("HSET", turns, entries[i], left) end
  end
  finish, own, clock = math.max(finish - clock, 0), math.max(own - clock, 0), 0
end

local start = math.max(clock, own)
own = start + units
redis.call("HSET", turns, project, own, "clock", clock, "end", math.max(finish, own), "at", second)
return math.min(start + 1, last)`.replaceAll("QUIET_SECONDS", String(QUIET_SECONDS))

/** Whose turn it is about. */
export interface TurnOptions {
  readonly connection: Redis
  readonly queue: string
}

/** A job that is about to be added. */
export interface NewInLine<Payload = JobPayload> {
  readonly jobId: string
  readonly payload: Payload
}

/**
 * The priorities of jobs that are about to be added, in their order: from 1 on, lower is earlier. `null` for one of whose id
 * there is a job already, which then costs its project nothing. One round trip.
 */
export async function takeTurns(
  { connection, queue }: TurnOptions,
  jobs: readonly NewInLine<Pick<JobPayload, "projectId" | "size">>[],
): Promise<(number | null)[]> {
  scripted(connection)
  const answers = await transact(
    connection,
    (commands) => {
      for (const { jobId, payload } of jobs)
        scripted(commands).unsealTakeTurn(
          ...parametersOf(queue, jobId, payload.projectId, unitsOf(payload.size), true),
        )
    },
    "pipeline",
  )
  return answers.map((priority) => (priority === 0 ? null : Number(priority)))
}

/**
 * Gives a running job that will be delayed a new turn, at the end of its project's line. With the old one it would be ahead of
 * everybody when it returns, as would ten thousand whose store is down. `costsUnit` if it only looked for its object.
 */
export async function takeTurnAgain(
  options: TurnOptions,
  job: Pick<Job, "id" | "changePriority">,
  { projectId, size }: Pick<JobPayload, "projectId" | "size">,
  costsUnit: boolean,
): Promise<void> {
  const units = costsUnit ? 1 : unitsOf(size)
  const parameters = parametersOf(options.queue, job.id ?? "", projectId, units, false)
  await job.changePriority({ priority: await scripted(options.connection).unsealTakeTurn(...parameters) })
}

type Parameters = (string | number)[]

/** Keys and arguments of the script. */
function parametersOf(
  queue: string,
  jobId: string,
  projectId: string,
  units: number,
  mustBeNew: boolean,
): Parameters {
  const key = (type: string) => queueKey(queue, type)
  const lines = [key("prioritized"), key("delayed"), key("active")]
  const keys = [turnsKey(queue), ...lines, key(jobId), countersKey(queue)]
  return [...keys, projectId, units, LAST_PRIORITY, key(""), jobId, mustBeNew ? 1 : 0]
}

interface Scripted {
  unsealTakeTurn(...parameters: Parameters): Promise<number>
}

/**
 * A connection, or a pipeline of one that was here before, with the script as a command of its own, which sends its digest of
 * 40 bytes instead of its text of 3 kB.
 */
function scripted(commands: Redis | ChainableCommander): Scripted {
  if (!("unsealTakeTurn" in commands))
    (commands as Redis).defineCommand("unsealTakeTurn", { numberOfKeys: 6, lua: TAKE_TURN })
  return commands as unknown as Scripted
}

/** What an archive of `size` bytes costs. */
function unitsOf(size: number | undefined): number {
  if (size === undefined) return USUAL_UNITS
  return Math.min(Math.max(Math.ceil(size / UNIT_BYTES), 1), MAX_UNITS)
}
