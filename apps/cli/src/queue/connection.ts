import { untilAborted } from "@unseal/archive/waiting"
import type { QueueAccess } from "@unseal/operations/queue-access"
import { QueueUnavailableError } from "@unseal/queue/enqueue/producer"
import { logConsole } from "@unseal/service/log/library-console"
import { createLogger } from "@unseal/service/log/logger"
import { reachRedis } from "@unseal/service/redis/reach"
import { connectRedis, type RedisClient } from "@unseal/service/redis/redis"
import type { RedisSettings } from "@unseal/service/redis/settings"
import { parseRedisUrl } from "@unseal/service/redis/url"
import type { Tracing } from "@unseal/service/tracing/contract"
import { createSendTracer } from "@unseal/service/tracing/send"
import { startTracing } from "@unseal/service/tracing/tracing"
import { env, readQueueSettings } from "../config.ts"

/** How long a command waits for Redis before it reports that Redis is away. */
const CONNECT_TIMEOUT_MS = 5_000

/**
 * Runs `work` on the queue over a new connection. With `enqueues`, it may enqueue jobs, which are traced if the environment asks
 * for that. With `finishes`, it ends by itself soon after an abort, and its end is awaited. Throws `QueueUnavailableError` if there
 * is no connection, or `signal`'s reason after an abort.
 */
export async function withQueue<T>(
  work: (access: QueueAccess) => Promise<T>,
  signal: AbortSignal,
  { enqueues = false, finishes = false }: { readonly enqueues?: boolean; readonly finishes?: boolean } = {},
): Promise<T> {
  const settings = readQueueSettings()
  const connection = await connectQueue(settings, signal)
  let tracing: Tracing | undefined
  try {
    const { UNSEAL_QUEUE: queue, UNSEAL_REDIS_REPLICAS: replicas } = settings
    if (enqueues) tracing = await startTracing("cli", env, createLogger("cli", "silent"))
    const trace = tracing && createSendTracer(tracing, queue)
    const working = work({ connection, queue, replicas, trace })
    return await (finishes ? working : untilAborted(working, signal))
  } finally {
    connection.disconnect()
    await tracing?.close()
  }
}

/**
 * A new connection to the queue's Redis, ready for commands. Throws `ConfigurationError` if the settings can never lead to one,
 * `QueueUnavailableError` if Redis does not answer in time, or `signal`'s reason after an abort.
 */
export async function connectQueue(settings: RedisSettings, signal: AbortSignal): Promise<RedisClient> {
  const logger = createLogger("cli", "silent")
  // ioredis prints advice for programmers there. The command itself reports what stops it.
  logConsole(logger)
  await untilAborted(reachRedis(settings), signal)
  const connection = connectRedis(settings, "producer", logger)
  let failure = "no answer"
  connection.on("error", (error: Error) => {
    failure = error.message || (error as NodeJS.ErrnoException).code || failure
  })
  let giveUp: NodeJS.Timeout | undefined
  try {
    const connected = new Promise<void>((resolve, reject) => {
      if (connection.status === "ready") return resolve()
      giveUp = setTimeout(
        () =>
          reject(
            new QueueUnavailableError(
              `redis did not answer within ${CONNECT_TIMEOUT_MS / 1000} s: ${failure}${moveAfter(failure, settings)}`,
            ),
          ),
        CONNECT_TIMEOUT_MS,
      )
      connection.once("ready", resolve)
    })
    await untilAborted(connected, signal)
    return connection
  } catch (error) {
    connection.disconnect()
    throw error
  } finally {
    clearTimeout(giveUp)
  }
}

/** What to do if nothing answers. Other failures say it themselves. */
const moveAfter = (failure: string, { REDIS_URL }: RedisSettings): string =>
  /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ETIMEDOUT|^no answer$|timed out$/.test(failure)
    ? `; start it, or set REDIS_URL, which is ${parseRedisUrl(REDIS_URL).shown}`
    : ""
