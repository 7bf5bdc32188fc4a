/**
 * Which archived objects a backfill has asked back, for the process that continues it. If Redis loses this, the stores still show
 * it.
 */
import { restoresKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"

/** Notes by archive, `projectId_archiveId`: when it was first asked back, in milliseconds since the epoch. */
export interface RestoreNotes {
  load(): Promise<ReadonlyMap<string, number>>
  add(archive: string, askedAt: number): Promise<void>
  remove(archive: string): Promise<void>
  clear(): Promise<void>
}

/** Notes are deleted thirty days after the last one was added. */
const KEPT_SECONDS = 30 * 86_400

/** The notes of the backfill `backfillId`. */
export function restoreNotes(connection: RedisClient, queue: string, backfillId: string): RestoreNotes {
  const key = restoresKey(queue, backfillId)
  return {
    async load() {
      const fields = Object.entries(await connection.hgetall(key))
      return new Map(fields.map(([archive, askedAt]) => [archive, Number(askedAt) || 0]))
    },
    async add(archive, askedAt) {
      await connection.hset(key, archive, askedAt)
      await connection.expire(key, KEPT_SECONDS)
    },
    async remove(archive) {
      await connection.hdel(key, archive)
    },
    async clear() {
      await connection.del(key)
    },
  }
}
