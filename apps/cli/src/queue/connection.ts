import { untilAborted } from "@unseal/archive/waiting"
import type { QueueAccess } from "@unseal/operations/queue-access"
import { QueueUnavailableError } from "@unseal/queue/enqueue/producer"
import { logConsole } from "@unseal/service/log/library-console"
import { createLogger } from "@unseal/service/log/logger"
import { reachRedis } from "@unseal/service/redis/reach"
import { connectRedis } from "@unseal/service/redis/redis"
import { parseRedisUrl } from "@unseal/service/redis/url"
import { readQueueSettings } from "../config.ts"

type QueueSettings = ReturnType<typeof readQueueSettings>

/** How long a command waits for Redis before it reports that Redis is away. */
const CONNECT_TIMEOUT_MS = 5_000

/**
 * Runs `work` on the queue over a new connection. Throws `QueueUnavailableError` if there is none, or `signal`'s reason after an
 * abort.
 */
export async function withQueue<T>(
  work: (access: QueueAccess) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const settings = readQueueSettings()
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
    const { UNSEAL_QUEUE: queue, UNSEAL_REDIS_REPLICAS: replicas } = settings
    return await untilAborted(work({ connection, queue, replicas }), signal)
  } finally {
    clearTimeout(giveUp)
    connection.disconnect()
  }
}

/** What to do if nothing answers. Other failures say it themselves. */
const moveAfter = (failure: string, { REDIS_URL }: QueueSettings): string =>
  /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ETIMEDOUT|^no answer$|timed out$/.test(failure)
    ? `; start it, or set REDIS_URL, which is ${parseRedisUrl(REDIS_URL).shown}`
    : ""
