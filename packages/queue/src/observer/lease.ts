/**
 * The lease of the one process that shows the queue's state in its metrics. All processes contend for it; its holder renews it.
 *
 * A holder that nobody scrapes would hide the queue from everybody. So the lease remembers when its holder was last scraped, and a
 * contender that is scraped takes it from a holder that has not been for two minutes.
 */
import { randomUUID } from "node:crypto"
import { withDeadline } from "@unseal/archive/waiting"
import { observerKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"

export interface ObserverLease {
  /**
   * Whether this process holds the lease now. It is lost with the connection to Redis, and at the latest when the lease runs out.
   */
  readonly isHeld: boolean
  /** Notes that this process is being scraped, and asks for the lease. Resolves to `isHeld`, within a second. */
  scraped(): Promise<boolean>
  /** Gives the lease up, because this holder can't read the queue. It asks for it again after a while. */
  standBack(): void
  /** Gives the lease up for good. */
  close(): Promise<void>
}

export interface ObserverLeaseOptions {
  /** The lease does not close it. */
  readonly connection: RedisClient
  readonly queue: string
  /** How long the lease lasts without a renewal. Default 15 s. It is renewed, or asked for, three times as often. */
  readonly ttlMs?: number
  /** After how long a holder that is not scraped loses the lease to a contender that is. Default: two minutes. */
  readonly unscrapedMs?: number
  /** How long a holder that stood back waits before it asks again. Default 10 s. */
  readonly standBackMs?: number
}

/**
 * KEYS: lease. ARGV: id, whether it is being scraped, milliseconds that the lease lasts, and until a holder counts as not scraped.
 * A full Redis runs it, too: it writes a few bytes, and a full queue is what everybody wants to see.
 */
const CONTEND = `#!lua flags=allow-oom
local t = redis.call("TIME")
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local holder, scrapedAt = unpack(redis.call("HMGET", KEYS[1], "holder", "scrapedAt"))
local isMine = holder == ARGV[1]
local isNeglected = ARGV[2] == "1" and now - tonumber(scrapedAt or now) > tonumber(ARGV[4])
if holder and not isMine and not isNeglected then return 0 end
if not isMine or ARGV[2] == "1" then
  redis.call("HSET", KEYS[1], "holder", ARGV[1], "scrapedAt", string.format("%.0f", now))
end
redis.call("PEXPIRE", KEYS[1], ARGV[3])
return 1`

/** KEYS: lease. ARGV: id. */
const RELEASE = `
if redis.call("HGET", KEYS[1], "holder") == ARGV[1] then return redis.call("DEL", KEYS[1]) end
return 0`

/** A scrape waits no longer than this for the lease. */
const ANSWER_WITHIN_MS = 1_000

/** Contends for the lease from now on. */
export function createObserverLease(options: ObserverLeaseOptions): ObserverLease {
  const { connection, queue, ttlMs = 15_000, unscrapedMs = 120_000, standBackMs = 10_000 } = options
  const id = randomUUID()
  const key = observerKey(queue)
  let heldUntil = Number.NEGATIVE_INFINITY
  let notBefore = Number.NEGATIVE_INFINITY
  let closed = false
  let asking: Promise<void> = Promise.resolve()

  const isHeld = () => !closed && connection.status === "ready" && performance.now() < heldUntil
  const inTime = <T>(work: Promise<T>): Promise<T> =>
    withDeadline(work, ANSWER_WITHIN_MS, () => new Error("redis did not answer about the observer's lease"))

  async function ask(isScraped: boolean): Promise<void> {
    if (closed || connection.status !== "ready" || performance.now() < notBefore) return
    // Counted from before the request: Redis may answer late, but never sets the lease earlier than this.
    const askedAt = performance.now()
    try {
      const given = [key, id, isScraped ? "1" : "0", ttlMs, unscrapedMs] as const
      const won = (await inTime(connection.eval(CONTEND, 1, ...given))) === 1
      heldUntil = won ? askedAt + ttlMs : Number.NEGATIVE_INFINITY
    } catch {
      // It lasts as long as Redis was told. A holder that can't read anything shows nothing meanwhile.
    }
  }
  function contend(isScraped: boolean): Promise<void> {
    asking = asking.then(() => ask(isScraped))
    return asking
  }
  async function release(): Promise<void> {
    heldUntil = Number.NEGATIVE_INFINITY
    if (connection.status === "ready") await inTime(connection.eval(RELEASE, 1, key, id)).catch(() => {})
  }

  const onReady = () => void contend(false)
  connection.on("ready", onReady)
  onReady()
  const timer = setInterval(() => void contend(false), ttlMs / 3)
  timer.unref()

  return {
    get isHeld() {
      return isHeld()
    },
    async scraped() {
      await contend(true)
      return isHeld()
    },
    standBack() {
      notBefore = performance.now() + standBackMs
      asking = asking.then(release)
    },
    async close() {
      if (closed) return
      clearInterval(timer)
      connection.off("ready", onReady)
      await asking
      closed = true
      await release()
    },
  }
}
