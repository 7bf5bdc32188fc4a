/** The workers of a queue, as Redis sees them. */
import { queueKey, queuePrefix } from "./names.ts"
import { masters, type RedisClient } from "./redis/client.ts"

/** A worker that is connected, or that has a job. */
export interface SeenWorker {
  /** `HOST:PID`. */
  readonly name: string
  /** How many jobs it runs now, among the first that were looked at. */
  readonly running: number
  /** `null` if Redis does not say who is connected. */
  readonly isConnected: boolean | null
  /** How long it has been connected; `null` if unknown. */
  readonly connectedSeconds: number | null
}

export interface SeenWorkers {
  readonly workers: readonly SeenWorker[]
  /** Why idle workers are not among them. */
  readonly unseen: string | null
}

/** This many running jobs are looked at. */
const MOST_RUNNING = 2_000

/**
 * The workers by name. BullMQ names each worker's connection after it, so Redis's list of clients shows idle workers too; a user
 * without the permission for it sees only those that run something.
 */
export async function readWorkers(connection: RedisClient, queue: string): Promise<SeenWorkers> {
  const [running, connected] = await Promise.all([
    readRunning(connection, queue),
    readConnected(connection, queue).catch((error: Error) => {
      if (!/NOPERM|unknown (sub)?command/i.test(error.message)) throw error
      return null
    }),
  ])
  const names = new Set([...running.keys(), ...(connected?.keys() ?? [])])
  return {
    workers: [...names].sort().map((name) => ({
      name,
      running: running.get(name) ?? 0,
      isConnected: connected?.has(name) ?? null,
      connectedSeconds: connected?.get(name) ?? null,
    })),
    unseen:
      connected === null ? "Redis does not permit its user CLIENT LIST, which shows who is connected" : null,
  }
}

async function readRunning(connection: RedisClient, queue: string): Promise<Map<string, number>> {
  const ids = await connection.lrange(queueKey(queue, "active"), 0, MOST_RUNNING - 1)
  const running = new Map<string, number>()
  if (ids.length === 0) return running
  const reading = connection.pipeline()
  for (const id of ids) reading.hget(queueKey(queue, id), "pb")
  for (const [error, name] of (await reading.exec()) ?? [])
    if (!error && typeof name === "string") running.set(name, (running.get(name) ?? 0) + 1)
  return running
}

async function readConnected(connection: RedisClient, queue: string): Promise<Map<string, number>> {
  const prefix = `${queuePrefix(queue)}:${Buffer.from(queue).toString("base64")}:w:`
  const connected = new Map<string, number>()
  const lists = await Promise.all(masters(connection).map((server) => server.client("LIST")))
  for (const line of lists.flatMap((text) => String(text).split("\n"))) {
    const fields = new Map(line.split(" ").map((pair) => pair.split(/=(.*)/, 2) as [string, string]))
    const name = fields.get("name")
    if (name?.startsWith(prefix)) connected.set(name.slice(prefix.length), Number(fields.get("age")))
  }
  return connected
}
