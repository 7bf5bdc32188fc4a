import { queueKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import { IS_ORPHANED } from "./orphaned-job.ts"
import { firstIdOf, redriveIdOf } from "./redrive-id.ts"

/** A job that the queue knows, or one that it was redriven as. */
export interface FoundJob {
  /** `live`: it waits, runs or is delayed · `dead`: a dead letter · `completed`, within the last hour. */
  readonly state: "live" | "dead" | "completed"
  readonly jobId: string
  /** The unused id for a job that starts again. Concurrent callers get the same one. */
  readonly nextId: string
}

/** After this many redrives the search ends. It costs the same in any case. */
export const MAX_REDRIVES = 50

/**
 * KEYS: completed, failed. ARGV: prefix of the jobs' keys, limit, ids. Returns for each id the id and the state of each existing job
 * of its chain. Most have none, which one command tells.
 */
const FIND = `${IS_ORPHANED}
local completed, failed, prefix, limit = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local suffixes = {}
for number = 1, limit do suffixes[number] = number == 1 and "" or "_r" .. number end

local function chainOf(first)
  local found, keys, job = {}, {}, prefix .. first
  for number = 1, limit do keys[number] = job .. suffixes[number] end
  local left = redis.call("EXISTS", unpack(keys))
  for number = 1, limit do
    if left == 0 then break end
    local id, isThere = first .. suffixes[number], redis.call("EXISTS", keys[number])
    left = left - isThere
    if isThere == 1 and not isOrphaned(prefix, id) then
      local state = "live"
      if redis.call("ZSCORE", completed, id) then state = "completed" end
      if redis.call("ZSCORE", failed, id) then state = "dead" end
      table.insert(found, { id, state })
    end
  end
  return found
end

local answers = {}
for i = 3, #ARGV do answers[i - 2] = chainOf(ARGV[i]) end
return answers`

/** The script is sent once, and then called by its hash. */
const COMMAND = "unsealFindJobs"

type Chain = readonly (readonly [id: string, state: FoundJob["state"]])[]

/** The ids of job `jobId` and of the jobs that it was redriven from and as, the first one first. Empty if the queue knows none. */
export const findJobChain = async (
  connection: RedisClient,
  queue: string,
  jobId: string,
): Promise<string[]> => (await findChains(connection, queue, [jobId]))[0]!.map(([id]) => id)

/**
 * The state of job `jobId` and of the jobs that it was redriven as: the live one if there is one, else the dead letter, else the
 * newest completed one, else `null`.
 */
export async function findJob(
  connection: RedisClient,
  queue: string,
  jobId: string,
): Promise<FoundJob | null> {
  const [found] = await findJobs(connection, queue, [jobId])
  return found ?? null
}

/** `findJob` for each of `jobIds`, in this order. One command, which takes Redis about 20 µs for a job that it does not know. */
export async function findJobs(
  connection: RedisClient,
  queue: string,
  jobIds: readonly string[],
): Promise<(FoundJob | null)[]> {
  return (await findChains(connection, queue, jobIds)).map(foundIn)
}

function foundIn(chain: Chain): FoundJob | null {
  const newest = chain.at(-1)
  if (!newest) return null
  for (const wanted of ["live", "dead", "completed"] as const) {
    const match = chain.findLast(([, state]) => state === wanted)
    if (match) return { jobId: match[0], state: wanted, nextId: redriveIdOf(newest[0]) }
  }
  return null
}

async function findChains(
  connection: RedisClient,
  queue: string,
  jobIds: readonly string[],
): Promise<readonly Chain[]> {
  if (jobIds.length === 0) return []
  if (!(COMMAND in connection)) connection.defineCommand(COMMAND, { numberOfKeys: 2, lua: FIND })
  const keys = [queueKey(queue, "completed"), queueKey(queue, "failed")]
  const given = [queueKey(queue, ""), MAX_REDRIVES, ...jobIds.map(firstIdOf)]
  return await Reflect.get(connection, COMMAND).call(connection, ...keys, ...given)
}
