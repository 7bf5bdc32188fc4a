import type { RedisClient } from "@unseal/queue/client"

/** The queue that an operation works on. The connection stays its caller's, who bounds its commands in time and closes it. */
export interface QueueAccess {
  readonly connection: RedisClient
  /** The queue's name. */
  readonly queue: string
}
