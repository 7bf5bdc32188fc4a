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
const MAX_REDRIVES = 50

/**
 * KEYS: job, completed, failed. ARGV: id, limit, prefix of the jobs' keys. Returns id and state of each existing job of the
 * chain.
 */
const FIND = `${IS_ORPHANED}
local found = {}
for number = 1, tonumber(ARGV[2]) do
  local suffix = number == 1 and "" or "_r" .. number
  local id = ARGV[1] .. suffix
  if redis.call("EXISTS", KEYS[1] .. suffix) == 1 and not isOrphaned(ARGV[3], id) then
    local state = "live"
    if redis.call("ZSCORE", KEYS[2], id) then state = "completed" end
    if redis.call("ZSCORE", KEYS[3], id) then state = "dead" end
    table.insert(found, { id, state })
  end
end
return found`

/** The ids of job `jobId` and of the jobs that it was redriven from and as, the first one first. Empty if the queue knows none. */
export const findJobChain = async (
  connection: RedisClient,
  queue: string,
  jobId: string,
): Promise<string[]> => (await findChain(connection, queue, jobId)).map(([id]) => id)

/**
 * The state of job `jobId` and of the jobs that it was redriven as: the live one if there is one, else the dead letter, else the
 * newest completed one, else `null`.
 */
export async function findJob(
  connection: RedisClient,
  queue: string,
  jobId: string,
): Promise<FoundJob | null> {
  const found = await findChain(connection, queue, jobId)
  const newest = found.at(-1)
  if (!newest) return null
  for (const wanted of ["live", "dead", "completed"] as const) {
    const match = found.findLast(([, state]) => state === wanted)
    if (match) return { jobId: match[0], state: wanted, nextId: redriveIdOf(newest[0]) }
  }
  return null
}

async function findChain(
  connection: RedisClient,
  queue: string,
  jobId: string,
): Promise<[id: string, state: FoundJob["state"]][]> {
  const first = firstIdOf(jobId)
  const keys = [queueKey(queue, first), queueKey(queue, "completed"), queueKey(queue, "failed")]
  const given = [first, MAX_REDRIVES, queueKey(queue, "")]
  return (await connection.eval(FIND, keys.length, ...keys, ...given)) as [string, FoundJob["state"]][]
}
