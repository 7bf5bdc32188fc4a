/** Makes replicas lag when their master dies, so that what it acknowledged last is lost. */
import { setTimeout as sleep } from "node:timers/promises"
import { Redis } from "ioredis"
import type { RedisServer } from "./redis.ts"

/** Longer than a run takes from its beginning to the note of its upload, so that the loss includes the whole run. */
const BEHIND_MS = 2_500

/** Kills `master` with SIGKILL. Its `replicas` lack its last seconds. */
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
    // A replica would read what is in flight as soon as it is thawed.
    await client.call("CLIENT", "KILL", "TYPE", "replica")
    client.disconnect()
    await sleep(BEHIND_MS)
    await master.stop("SIGKILL")
  } finally {
    for (const replica of replicas) replica.thaw()
  }
}

/**
 * Resolves when a replica of `master` has everything that was acknowledged before the call. `hashTag` names one of the master's
 * slots, if it has slots.
 */
export async function untilReplicated(
  master: RedisServer,
  hashTag: string,
  password?: string,
): Promise<void> {
  const client = new Redis(master.port, "127.0.0.1", {
    ...(password && { password }),
    retryStrategy: () => null,
  })
  client.on("error", () => {})
  try {
    // WAIT covers only what its own connection has written.
    await client.set(`{${hashTag}}:untilReplicated`, 1, "PX", 1)
    if ((await client.wait(1, 30_000)) < 1) throw new Error("no replica follows its master within 30 s")
  } finally {
    client.disconnect()
  }
}
