/**
 * What operators discarded. Without it, the next reconciler would find an archive that is neither done nor in the queue, and
 * enqueue it again.
 */
import { firstIdOf } from "../jobs/redrive-id.ts"
import { discardedKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"

/** How long a discarded archive is remembered. */
export const DISCARDED_DAYS = 30

/** Whether the job `jobId`, or one that it was redriven as, was discarded within the last `DISCARDED_DAYS`. */
export async function wasDiscarded(connection: RedisClient, queue: string, jobId: string): Promise<boolean> {
  const [at, [now]] = await Promise.all([
    connection.zscore(discardedKey(queue), firstIdOf(jobId)),
    connection.time() as unknown as Promise<[string, string]>,
  ])
  return at !== null && Number(now) - Number(at) <= DISCARDED_DAYS * 86_400
}
