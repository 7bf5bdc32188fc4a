import { Redis, type RedisOptions } from "ioredis"
import { type Logger, rateLimited } from "./logger.ts"

/**
 * A producer answers somebody who waits, so no command outlives its caller: without a connection it fails at once, without an
 * answer after `commandTimeout`. It is not sent again, since the caller has answered by then. A consumer has nobody waiting:
 * its commands wait until Redis is back. `socketTimeout` counts only while an answer is due; a consumer's blocking commands
 * take up to 10 s by themselves.
 */
const ROLES = {
  producer: {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    commandTimeout: 2_000,
    socketTimeout: 5_000,
  },
  consumer: { maxRetriesPerRequest: null, socketTimeout: 20_000 },
} as const satisfies Record<string, RedisOptions>

const FIRST_RECONNECT_MS = 50
const LAST_RECONNECT_MS = 2_000
const ERROR_LINES_PER_SECOND = 2

/**
 * A client of the Redis at `url` (`redis://`, or `rediss://` for TLS) that connects in the background, now and whenever the
 * connection is lost, at most 2 s apart. It returns at once, also when Redis is down: `redis.status` is `ready` when
 * it can be used. Errors are logged, two lines a second at most, and never thrown.
 */
export function connectRedis(url: string, role: "producer" | "consumer", logger: Logger): Redis {
  const redis = new Redis(url, {
    ...ROLES[role],
    lazyConnect: true,
    connectTimeout: 5_000,
    retryStrategy: (attempt) => {
      const delay = Math.min(FIRST_RECONNECT_MS * 2 ** Math.min(attempt, 10), LAST_RECONNECT_MS)
      // Without it, all processes would come back to a restarted Redis in step.
      return delay * (0.5 + Math.random() / 2)
    },
    // A replica that was a primary until now: the name in the URL leads to the new primary.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
  })
  const log = rateLimited(logger, ERROR_LINES_PER_SECOND)
  redis.on("error", (err: unknown) => log("error", "redis", { err, role }, "redis connection failed"))
  redis.on("ready", () => log("info", "redis ready", { role }, "redis connected"))
  // The failure is reported by the error event as well, and reconnecting goes on.
  redis.connect().catch(() => {})
  return redis
}
