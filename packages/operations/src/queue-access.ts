import type { SendTracer } from "@unseal/queue/enqueue/trace"
import type { RedisClient } from "@unseal/queue/redis/client"

/** The queue of an operation. The caller owns the connection, limits the time of its commands, and closes it. */
export interface QueueAccess {
  readonly connection: RedisClient
  /** The queue's name. */
  readonly queue: string
  /** How many replicas of Redis must have an enqueued job before it counts as enqueued. Default 0. */
  readonly replicas?: number
  /** Surrounds each enqueueing, and gives the job its trace. */
  readonly trace?: SendTracer | undefined
}
