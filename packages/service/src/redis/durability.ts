/** Checks whether the current Redis keeps what it acknowledges. */
import type { Logger } from "../log/logger.ts"
import type { RedisClient } from "./redis.ts"

/** The first Redis of this process may lose what it acknowledges. */
export class UnsafeRedisError extends Error {
  override readonly name = "UnsafeRedisError"
}

export interface DurabilityOptions {
  readonly redis: RedisClient
  /** `require`: the process ends if its first Redis has problems. `warn`: it only logs them. */
  readonly policy: "require" | "warn"
  /** How it may lose jobs, one clause each. */
  readonly problems: (redis: RedisClient) => Promise<readonly string[]>
  readonly logger: Logger
  /** Called at most once, with an `UnsafeRedisError`. */
  readonly refuse: (error: UnsafeRedisError) => void
}

/**
 * Checks every Redis that this process connects to. One that later takes another's place, in a failover, is never refused,
 * because its jobs must still be done.
 */
export function watchDurability({ redis, policy, problems, logger, refuse }: DurabilityOptions): void {
  let first = true
  let lastSaid = ""
  async function look(): Promise<void> {
    const found = await problems(redis)
    if (first && policy === "require" && found.length > 0)
      refuse(
        new UnsafeRedisError(
          `${found.join("; ")}. Set it up to keep them, or set UNSEAL_REDIS_DURABILITY=warn to take that risk`,
        ),
      )
    for (const problem of found) logger.warn({ problem }, "redis may lose jobs")
    first = false
    lastSaid = ""
  }
  const begin = () =>
    void look().catch((err: unknown) => {
      // Redis forbids the same at every connection, so it is logged once.
      if (String(err) !== lastSaid)
        logger.warn({ err }, "redis does not say whether it keeps what it has acknowledged")
      lastSaid = String(err)
    })
  redis.on("ready", begin)
  if (redis.status === "ready") begin()
}
