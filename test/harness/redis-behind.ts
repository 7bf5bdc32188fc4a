/** Replicas that have not heard of the last moments: what a master acknowledges meanwhile is gone when it dies. */
import { setTimeout as sleep } from "node:timers/promises"
import { Redis } from "ioredis"
import type { RedisServer } from "./redis.ts"

/** Longer than a run takes from its beginning to the note of its upload, which must not be older than what is lost. */
const BEHIND_MS = 2_500

/** Kills `master` with SIGKILL; its `replicas` know nothing of its last seconds. */
export async function killBehind(
  master: RedisServer,
  replicas: readonly RedisServer[],
  password?: string,
): Promise<void> {
  for (const replica of replicas) replica.freeze()
  try {
    const client = new Redis(master.port, "127.0.0.1", {
      ...(password && { password }),
      retryStrategy: () => null,
    })
    client.on("error", () => {})
    // What is on its way would be read by a replica that is thawed.
    await client.call("CLIENT", "KILL", "TYPE", "replica")
    client.disconnect()
    await sleep(BEHIND_MS)
    await master.stop("SIGKILL")
  } finally {
    for (const replica of replicas) replica.thaw()
  }
}
