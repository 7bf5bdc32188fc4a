import { QueueUnavailableError } from "@unseal/queue/producer"
import { logConsole } from "@unseal/service/library-console"
import { createLogger } from "@unseal/service/logger"
import { connectRedis } from "@unseal/service/redis"
import { reachRedis } from "@unseal/service/redis-reach"
import { readQueueSettings } from "./config.ts"

type QueueSettings = ReturnType<typeof readQueueSettings>

/** How long a command waits for Redis before it says that it is away. */
const CONNECT_TIMEOUT_MS = 5_000

/** Runs `work` on a connection to the queue's Redis. `QueueUnavailableError` if it can't be had. */
export async function withQueue<T>(
  work: (queue: { connection: ReturnType<typeof connectRedis>; settings: QueueSettings }) => Promise<T>,
): Promise<T> {
  const settings = readQueueSettings()
  const logger = createLogger("cli", "silent")
  // ioredis gives advice there to whoever wrote this; what stops a command is said by the command.
  logConsole(logger)
  await reachRedis(settings)
  const connection = connectRedis(settings, "producer", logger)
  let failure = "no answer"
  connection.on("error", (error: Error) => {
    failure = error.message || (error as NodeJS.ErrnoException).code || failure
  })
  try {
    await new Promise<void>((resolve, reject) => {
      if (connection.status === "ready") return resolve()
      const giveUp = setTimeout(
        () =>
          reject(
            new QueueUnavailableError(
              `redis did not answer within ${CONNECT_TIMEOUT_MS / 1000} s: ${failure}`,
            ),
          ),
        CONNECT_TIMEOUT_MS,
      )
      connection.once("ready", () => {
        clearTimeout(giveUp)
        resolve()
      })
    })
    return await work({ connection, settings })
  } finally {
    connection.disconnect()
  }
}
