import type { RedisClient } from "@unseal/queue/redis/client"

/** The queue of an operation. The caller owns the connection, limits the time of its commands, and closes it. */
export interface QueueAccess {
  readonly connection: RedisClient
  /** The queue's name. */
  readonly queue: string
}
