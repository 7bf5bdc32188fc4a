/** What the queue needs of its Redis server: room, and persistence across crashes. */
import type { Redis } from "ioredis"
import { infoFields, infoOf, masters, type RedisClient } from "./client.ts"
import type { QueueLogger } from "./error-log.ts"

export interface ServerMemory {
  readonly usedBytes: number
  /** 0 if there is no limit. */
  readonly limitBytes: number
}

/** The memory of the server that holds `queue`. */
export async function readMemory(connection: RedisClient, queue: string): Promise<ServerMemory> {
  const fields = infoFields(await infoOf(connection, queue, "memory"))
  return { usedBytes: Number(fields.get("used_memory")), limitBytes: Number(fields.get("maxmemory")) }
}

/** A full Redis refuses workers as well. They need some room to finish jobs, which frees memory. */
export const NEARLY_FULL = 0.8
/** The share that archives of earlier years may fill. The rest is for callbacks, which can't wait. */
export const BULK_FULL_AT = 0.6
const GOOD_FOR_MS = 1_000

/**
 * Returns a function that says why no more jobs should be added, or `null`. It looks at most once a second. `fullAt` is a share of
 * Redis' maxmemory. If Redis does not allow the question, the answer is `null`, and that is logged once.
 */
export function watchMemory(
  connection: RedisClient,
  queue: string,
  logger?: QueueLogger,
  fullAt = NEARLY_FULL,
): () => Promise<string | null> {
  let told = false
  let looking: Promise<string | null> | undefined
  let lookedAt = Number.NEGATIVE_INFINITY
  return () => {
    if (looking && performance.now() - lookedAt < GOOD_FOR_MS) return looking
    lookedAt = performance.now()
    looking = readMemory(connection, queue).then(
      ({ usedBytes, limitBytes }) => {
        if (limitBytes === 0 || usedBytes < limitBytes * fullAt) return null
        return `redis uses ${Math.round((100 * usedBytes) / limitBytes)} % of its maxmemory of ${limitBytes} bytes: raise it, or let workers catch up`
      },
      (error: Error) => {
        // On a cluster, a script reports it in other words.
        if (!/NOPERM|unknown command|no permissions/i.test(error.message)) throw error
        if (!told)
          logger?.warn(
            { reason: error.message },
            "redis does not say how full it is: this user may not call INFO",
          )
        told = true
        return null
      },
    )
    looking.catch(() => {
      looking = undefined
    })
    return looking
  }
}

/** How this Redis, or any master of this cluster, may lose acknowledged jobs, one clause each; empty if all settings are right. */
export async function durabilityProblems(connection: RedisClient): Promise<string[]> {
  const problems = await Promise.all(masters(connection).map(problemsOf))
  return [...new Set(problems.flat())]
}

async function problemsOf(connection: Redis): Promise<string[]> {
  // In one round trip, so that on a connection that has just become ready the answer comes before any job is acknowledged.
  const [info, fsync] = await Promise.all([
    connection.info(),
    // Managed servers forbid CONFIG. Then the existence of an append-only file must be enough.
    connection.config("GET", "appendfsync").catch(() => []),
  ])
  const appendfsync = Array.isArray(fsync) ? fsync[1] : undefined
  const fields = infoFields(info)
  const policy = fields.get("maxmemory_policy")
  const problems: string[] = []
  if (policy !== undefined && policy !== "noeviction")
    problems.push(`maxmemory-policy is ${policy}, not noeviction: a full Redis throws jobs away`)
  if (fields.get("aof_enabled") === "0")
    problems.push("appendonly is no: a crash of Redis loses all jobs since the last snapshot")
  else if (typeof appendfsync === "string" && appendfsync !== "always")
    problems.push(`appendfsync is ${appendfsync}, not always: a crash of Redis loses the newest jobs`)
  return problems
}
