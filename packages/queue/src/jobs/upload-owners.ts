/** Finds the destinations that jobs are writing, or will continue when redriven, from their checkpoints. */
import type { Redis } from "ioredis"
import { checkpointKey } from "../names.ts"
import { masters, type RedisClient } from "../redis/client.ts"
import { findJob } from "./find-job.ts"

export interface UploadOwners {
  /** Whether a live job or a dead letter currently has an upload to `destinationKey`, which must be one of the requested keys. */
  isOwned(destinationKey: string): Promise<boolean>
}

/** How many keys Redis looks at per request. */
const SCAN_COUNT = 1_000

/**
 * Finds the jobs whose checkpoint names one of `destinationKeys`. Looks at every checkpoint, a thousand at a time, and forgets
 * those of other keys at once, so that memory grows with the request and not with the queue.
 */
export async function findUploadOwners(
  connection: RedisClient,
  queue: string,
  destinationKeys: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<UploadOwners> {
  const owners = new Map<string, Set<string>>()
  const prefix = checkpointKey(queue, "")
  for (const server of masters(connection)) await scan(server)

  async function scan(server: Redis): Promise<void> {
    const matching = `${escapeGlob(prefix)}*`
    let cursor = "0"
    do {
      signal.throwIfAborted()
      const [next, keys] = await server.scan(cursor, "MATCH", matching, "COUNT", SCAN_COUNT)
      cursor = next
      await look(keys)
    } while (cursor !== "0")
  }

  async function look(keys: readonly string[]): Promise<void> {
    const reading = connection.pipeline()
    for (const key of keys) reading.hget(key, "upload")
    for (const [index, [error, upload]] of ((await reading.exec()) ?? []).entries()) {
      if (error) throw error
      const destinationKey = destinationOf(upload as string | null)
      if (destinationKey === null || !destinationKeys.has(destinationKey)) continue
      const jobs = owners.get(destinationKey) ?? new Set()
      owners.set(destinationKey, jobs.add(keys[index]!.slice(prefix.length)))
    }
  }

  return {
    async isOwned(destinationKey) {
      // A dead letter continues with it when redriven; a job that was redriven has taken it along. The checkpoint expires before
      // most stores drop the upload anyway.
      for (const jobId of owners.get(destinationKey) ?? [])
        if (["live", "dead"].includes((await findJob(connection, queue, jobId))?.state ?? "")) return true
      return false
    },
  }
}

function destinationOf(upload: string | null): string | null {
  try {
    const { destinationKey } = JSON.parse(upload ?? "null") as { destinationKey?: unknown }
    return typeof destinationKey === "string" ? destinationKey : null
  } catch {
    // Damaged: its job will start over.
    return null
  }
}

const escapeGlob = (text: string): string => text.replace(/[*?[\]\\]/g, "\\$&")
