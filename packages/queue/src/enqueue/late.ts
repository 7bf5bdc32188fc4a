/** Since when an archive's object has been missing, or archived. Kept with its job, so that it outlives runs and workers. */

import { queueKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"

/** KEYS: job. ARGV: field, now. */
const SINCE = `
if redis.call("EXISTS", KEYS[1]) == 0 then return { ARGV[2], "0" } end
redis.call("HSETNX", KEYS[1], ARGV[1], ARGV[2])
return redis.call("HMGET", KEYS[1], ARGV[1], "held")`

/** Milliseconds since the job's first miss of this kind, minus the time that suspensions held it. Notes the first miss. */
export async function missedFor(
  connection: RedisClient,
  queue: string,
  jobId: string,
  kind: "missing" | "archived",
): Promise<number> {
  const now = Date.now()
  const field = `${kind}Since`
  const [since, held] = (await connection.eval(SINCE, 1, queueKey(queue, jobId), field, now)) as string[]
  return Math.max(0, now - Number(since ?? now) - Number(held ?? 0))
}
