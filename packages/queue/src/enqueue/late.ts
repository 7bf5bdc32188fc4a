/** Since when an archive's object has been missing, or archived. Kept with its job, so that it outlives runs and workers. */

import type { Lane } from "../jobs/lane.ts"
import { SAYS_BULK } from "../lanes/lines.ts"
import { queueKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"

/** KEYS: job. ARGV: field, now. */
const SINCE = `${SAYS_BULK}
if redis.call("EXISTS", KEYS[1]) == 0 then return { ARGV[2], "0", "live" } end
redis.call("HSETNX", KEYS[1], ARGV[1], ARGV[2])
local times = redis.call("HMGET", KEYS[1], ARGV[1], "held")
return { times[1], times[2] or "0", saysBulk(redis.call("HGET", KEYS[1], "data")) and "bulk" or "live" }`

export interface Missed {
  /** Milliseconds since the job's first miss of this kind, minus the time that suspensions held it. */
  readonly forMs: number
  /** The lane that it is in now: a callback may have made it live while it ran. */
  readonly lane: Lane
}

/** Notes the job's first miss of this kind. */
export async function missedFor(
  connection: RedisClient,
  queue: string,
  jobId: string,
  kind: "missing" | "archived",
): Promise<Missed> {
  const now = Date.now()
  const given = [queueKey(queue, jobId), `${kind}Since`, now]
  const [since, held, lane] = (await connection.eval(SINCE, 1, ...given)) as string[]
  const forMs = Math.max(0, now - Number(since ?? now) - Number(held ?? 0))
  return { forMs, lane: lane === "bulk" ? "bulk" : "live" }
}
