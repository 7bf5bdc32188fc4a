/** What feeding a backfill needs. */
import type { Producer } from "@unseal/queue/enqueue/producer"
import type { RedisClient } from "@unseal/queue/redis/client"
import type { SidesOf } from "./looks.ts"
import type { SegmentsStep } from "./segments.ts"

/** The steps after which tests kill a feeder. */
export type FeedStep = "looked" | "enqueued" | "confirmed" | SegmentsStep

export interface FeedDependencies {
  readonly connection: RedisClient
  readonly queue: string
  readonly producer: Producer
  readonly sidesOf: SidesOf
  /** Whether this process may still feed. */
  readonly isHeld: () => boolean
  readonly step?: (step: FeedStep) => Promise<void>
}
