/** A pause of the whole queue: running jobs finish, new ones are accepted, and none begins. */
import { Queue } from "bullmq"
import { pausedSinceKey, queueKey, queuePrefix } from "./names.ts"
import type { RedisClient } from "./redis/client.ts"

export interface Pause {
  /** ISO 8601; `null` if another tool has paused the queue. */
  readonly since: string | null
}

/** The current pause, or `null`. */
export async function readPause(connection: RedisClient, queue: string): Promise<Pause | null> {
  const isPaused = (await connection.hexists(queueKey(queue, "meta"), "paused")) === 1
  return isPaused ? { since: await connection.get(pausedSinceKey(queue)) } : null
}

/** Pauses the queue until `resumeQueue`. Resolves to the current pause, which may be an older one. */
export async function pauseQueue(connection: RedisClient, queue: string): Promise<Pause> {
  const earlier = await readPause(connection, queue)
  if (earlier !== null) return earlier
  // Written first, so that anyone who sees the pause also sees its beginning.
  const since = new Date().toISOString()
  await connection.set(pausedSinceKey(queue), since)
  await withQueue(connection, queue, (tool) => tool.pause())
  return { since }
}

/** Ends the pause, whoever began it. Resolves to the pause that was ended, or `null`. */
export async function resumeQueue(connection: RedisClient, queue: string): Promise<Pause | null> {
  const pause = await readPause(connection, queue)
  if (pause === null) return null
  await withQueue(connection, queue, (tool) => tool.resume())
  await connection.del(pausedSinceKey(queue))
  return pause
}

async function withQueue(
  connection: RedisClient,
  name: string,
  work: (tool: Queue) => Promise<void>,
): Promise<void> {
  const tool = new Queue(name, { connection, prefix: queuePrefix(name), skipVersionCheck: true })
  // The caller sees the command fail.
  tool.on("error", () => {})
  try {
    await work(tool)
  } finally {
    await tool.close()
  }
}
