import { withDeadline } from "@unseal/archive/waiting"
import { queuePrefix } from "../names.ts"
import type { RedisClient } from "./client.ts"
import { missingCommands } from "./commands.ts"
import type { QueueLogger } from "./error-log.ts"

/** Whether Redis accepts work, as far as is known. */
export interface RedisHealth {
  /** Looks now. Returns why Redis accepts no work, one clause each; empty if it does. */
  problems(): Promise<readonly string[]>
  /** Since when it has accepted work without a break, in milliseconds since the epoch; `null` if it does not. */
  readonly okSince: number | null
  close(): void
}

/** One look at Redis. */
export interface RedisLook {
  /** Why it takes no work, or `null`. */
  readonly problem: string | null
  /** How long the write took, if it succeeded. */
  readonly seconds?: number
  /**
   * How far its clock is ahead of this machine's; 0 if the difference is no longer than the round trip. Absent if it does not
   * say.
   */
  readonly skewSeconds?: number
}

const LOOK_EVERY_MS = 2_000
const ANSWER_WITHIN_MS = 1_500

/**
 * Checks every two seconds whether Redis is there, answers, and accepts a write to the queue's slot. A Redis may answer PING and
 * refuse all work: when it is full, can't write its snapshot, is loading, or became a replica. Missing permissions of
 * `connection`'s user are checked until none are missing. The log gets one line when trouble begins, and one when it ends.
 */
export function watchRedis(options: {
  readonly connection: RedisClient
  readonly queue: string
  readonly logger?: QueueLogger
  readonly everyMs?: number
  /** Called after each look, for the metrics. */
  readonly onLook?: (look: RedisLook) => void
}): RedisHealth {
  const { connection, queue, logger, everyMs = LOOK_EVERY_MS, onLook } = options
  let trouble: string | null = "redis was not reached yet"
  let logged: string | null = null
  let troubleSince = Date.now()
  let okSince: number | null = null
  let allowed = false
  let lastError = ""
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const onError = (error: Error) => {
    lastError = error.message || String((error as NodeJS.ErrnoException).code ?? error.name)
  }
  connection.on("error", onError)

  async function look(): Promise<RedisLook> {
    if (connection.status !== "ready") {
      const because = lastError === "" ? "" : `: ${shortened(lastError)}`
      return { problem: `redis is not connected (${connection.status})${because}` }
    }
    const late = () => new Error(`redis did not answer within ${ANSWER_WITHIN_MS} ms`)
    try {
      if (!allowed) {
        const missing = await withDeadline(missingCommands(connection, queue), ANSWER_WITHIN_MS, late)
        if (missing.length > 0)
          return { problem: `redis forbids its user commands that the queue needs: ${missing.join(", ")}` }
      }
      const key = `${queuePrefix(queue)}:written`
      const askedAt = performance.now()
      const askedOn = Date.now()
      // Not every user may ask for the time.
      const time = connection.time().catch(() => null)
      await withDeadline(connection.set(key, askedOn, "PX", 60_000), ANSWER_WITHIN_MS, late)
      const seconds = (performance.now() - askedAt) / 1_000
      const skewSeconds = skewOf(await withDeadline(time, ANSWER_WITHIN_MS, late), askedOn, Date.now())
      allowed = true
      lastError = ""
      return { problem: null, seconds, ...(skewSeconds !== null && { skewSeconds }) }
    } catch (error) {
      const { message } = error as Error
      if (message.startsWith("NOPERM")) allowed = false
      return { problem: /^redis /.test(message) ? message : `redis refuses to work: ${shortened(message)}` }
    }
  }

  function note(now: string | null): void {
    trouble = now
    if (now === null) {
      okSince ??= Date.now()
      if (logged !== null)
        logger?.info({ seconds: Math.round((Date.now() - troubleSince) / 1_000) }, "redis takes work again")
      logged = null
      return
    }
    if (okSince !== null) troubleSince = Date.now()
    okSince = null
    if (logged === null) logger?.warn({ reason: now }, "redis takes no work; everything waits for it")
    logged ??= now
  }

  let looking: Promise<void> | undefined
  function lookNow(): Promise<void> {
    looking ??= look()
      .then((seen) => {
        if (closed) return
        const now = seen.problem
        onLook?.(seen)
        // Connecting for the first time is no trouble yet.
        const starts =
          okSince === null && logged === null && connection.status !== "ready" && lastError === ""
        if (starts) trouble = now
        else note(now)
      })
      .finally(() => {
        looking = undefined
      })
    return looking
  }
  async function goOn(): Promise<void> {
    await lookNow()
    if (closed) return
    timer = setTimeout(goOn, okSince === null ? Math.min(everyMs, 500) : everyMs)
    timer.unref()
  }
  void goOn()

  return {
    async problems() {
      await lookNow()
      return trouble === null ? [] : [trouble]
    },
    get okSince() {
      return okSince
    },
    close() {
      closed = true
      clearTimeout(timer)
      connection.off("error", onError)
    },
  }
}

/** Seconds that a clock which showed `time` between `from` and `to` (ms, on this machine's clock) is ahead of this machine's. */
function skewOf(time: unknown, from: number, to: number): number | null {
  if (!Array.isArray(time)) return null
  const at = Number(time[0]) * 1_000 + Number(time[1]) / 1_000
  return (at < from ? at - from : at > to ? at - to : 0) / 1_000
}

/** One clause, without the arguments that Redis may quote. */
const shortened = (message: string): string =>
  message
    .split(/[\r\n]/, 1)[0]!
    .replace(/['"].*/, "")
    .trim()
    .slice(0, 160)
