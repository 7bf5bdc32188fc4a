/** What the janitor's last sweep left, kept in Redis so that the observer can show it. The janitor is a command, not a process. */

import { sweepKey } from "./names.ts"
import type { RedisClient } from "./redis/client.ts"

export const UPLOAD_KINDS = ["owned", "young", "orphan", "foreign"] as const

/** How many uploads are open, by whose they are. */
export type OpenUploads = Readonly<Record<(typeof UPLOAD_KINDS)[number], number>>

/** Notes what a sweep of all stores has left open. */
export async function noteSweep(connection: RedisClient, queue: string, uploads: OpenUploads): Promise<void> {
  const [seconds] = (await connection.time()) as unknown as [string, string]
  await connection.hset(sweepKey(queue), { ...uploads, at: seconds })
}

/** The last note and its age in seconds; `null` if there is none. */
export async function readSweep(
  connection: RedisClient,
  queue: string,
): Promise<{ readonly uploads: OpenUploads; readonly seconds: number } | null> {
  const { at, ...counts } = await connection.hgetall(sweepKey(queue))
  if (at === undefined) return null
  const [now] = (await connection.time()) as unknown as [string, string]
  const uploads = Object.fromEntries(
    UPLOAD_KINDS.map((kind) => [kind, Number(counts[kind] ?? 0)]),
  ) as OpenUploads
  return { uploads, seconds: Math.max(0, Number(now) - Number(at)) }
}
