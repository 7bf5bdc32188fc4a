/**
 * The lease of the one process that feeds backfills into the queue. Two at once would do no harm, because a job has the archive's
 * id. They would only do the work twice.
 */
import { randomUUID } from "node:crypto"
import { withDeadline } from "@unseal/archive/waiting"
import { feederKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"

export interface FeederLease {
  /** Whether this process holds the lease now. Ends by itself, unless it is renewed. */
  readonly isHeld: boolean
  /** Asks for the lease, or renews it. Resolves to `isHeld`, within two seconds; never rejects. */
  contend(): Promise<boolean>
  /** Gives up the lease, so that another process can take it. */
  release(): Promise<void>
}

export interface FeederLeaseOptions {
  /** The lease does not close it. */
  readonly connection: RedisClient
  readonly queue: string
  /** How long the lease lasts without a renewal. */
  readonly ttlMs: number
}

/** KEYS: lease. ARGV: id, milliseconds that the lease lasts. */
const CONTEND = `
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return 1`

/** KEYS: lease. ARGV: id. */
const RELEASE = `
if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end
return 0`

const ANSWER_WITHIN_MS = 2_000

export function createFeederLease({ connection, queue, ttlMs }: FeederLeaseOptions): FeederLease {
  const id = randomUUID()
  const key = feederKey(queue)
  let heldUntil = Number.NEGATIVE_INFINITY
  const isHeld = () => performance.now() < heldUntil
  const inTime = (work: Promise<unknown>): Promise<unknown> =>
    withDeadline(work, ANSWER_WITHIN_MS, () => new Error("redis did not answer about the feeder's lease"))

  return {
    get isHeld() {
      return isHeld()
    },
    async contend() {
      if (connection.status !== "ready") return isHeld()
      // The time before the request counts: Redis may answer late, but never sets the lease earlier than this.
      const askedAt = performance.now()
      try {
        const won = (await inTime(connection.eval(CONTEND, 1, key, id, ttlMs))) === 1
        heldUntil = won ? askedAt + ttlMs : Number.NEGATIVE_INFINITY
      } catch {
        // The lease ends by itself.
      }
      return isHeld()
    },
    async release() {
      heldUntil = Number.NEGATIVE_INFINITY
      if (connection.status === "ready") await inTime(connection.eval(RELEASE, 1, key, id)).catch(() => {})
    },
  }
}
