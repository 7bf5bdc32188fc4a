/** Where an archive is in the queue, for whoever knows no more of it than its id. */
import type { Redis } from "ioredis"
import { masters, type RedisClient } from "./client.ts"
import { codeOf, type FailureCode } from "./ending.ts"
import { type JobFacts, READ_JOB } from "./job-facts.ts"
import { checkpointKey, heldKey, queueKey, suspensionsKey } from "./names.ts"
import { listSuspensions, parseName, type Suspension } from "./suspension-state.ts"

/**
 * `waiting`: in line · `delayed`: until its next attempt, or until its object is looked for again · `held`: by a suspension · `dead`: a
 * dead letter · `completed`: within the last hour · `orphaned`: Redis has lost its place in line, and the next callback for it puts it back in line.
 */
export type ArchiveJobState = "waiting" | "running" | "delayed" | "held" | "dead" | "completed" | "orphaned"

/** A job of an archive. Times are ISO 8601. */
export interface ArchiveJob {
  readonly jobId: string
  readonly projectId: string
  readonly archiveId: string
  readonly state: ArchiveJobState
  /** Since when it is in that state, as far as the queue knows: else when it was added. */
  readonly since: string
  readonly addedAt: string
  /** That failed, or the only one. */
  readonly attempts: number
  /** Why the last attempt failed, and its code; `null` if none has. */
  readonly failure: { readonly code: FailureCode; readonly reason: string } | null
  /** Jobs that are before it in line; only while it waits. */
  readonly ahead?: number
  /** What it is delayed until; of one that is held, when it becomes a dead letter, or is tried as the probe. */
  readonly until?: string
  /** The worker that took it last, as `HOST:PID`. */
  readonly worker?: string
  /** Only while it runs: whether its worker has renewed its lock. Without it, the worker is gone, and another takes the job soon. */
  readonly isLocked?: boolean
  /** Since when its object has been missing at the source, or has been in an archival storage class. */
  readonly missingSince?: string
  readonly archivedSince?: string
  /** Workers that ended while they had it. */
  readonly lostWorkers: number
  /** What holds it back, and whether it is the one that is tried next; only if it is `held`. */
  readonly suspension?: Suspension & { readonly isProbe: boolean }
  /** The upload that it has begun, and what of it is written. */
  readonly upload?: ArchiveUpload
  /** Its payload is lost, or not readable. */
  readonly damaged?: true
}

/** How far a job is with its upload. Bytes are of plaintext. */
export interface ArchiveUpload {
  readonly token: string
  readonly destinationKey: string
  readonly parts: number
  readonly partsWritten: number
  readonly bytes: number
  readonly bytesWritten: number
}

/** Keys that Redis looks at in one go. */
const SCAN_COUNT = 1_000

/**
 * The jobs that the queue holds of the archives whose id begins with `archiveId` (a UUID in lower case, or its beginning), the oldest
 * first. Looks through all keys of Redis, a thousand at a time.
 */
export async function findArchiveJobs(
  connection: RedisClient,
  queue: string,
  archiveId: string,
): Promise<ArchiveJob[]> {
  const ids = new Set<string>()
  for (const server of masters(connection)) await scan(server)
  const jobs = await readArchiveJobs(connection, queue, [...ids])
  return jobs.sort((a, b) => (a.addedAt < b.addedAt ? -1 : 1))

  async function scan(server: Redis): Promise<void> {
    const prefix = queueKey(queue, "")
    const matching = `${escapeGlob(prefix)}*_${escapeGlob(archiveId)}*`
    let cursor = "0"
    do {
      const [next, keys] = await server.scan(cursor, "MATCH", matching, "COUNT", SCAN_COUNT)
      for (const key of keys) {
        const id = key.slice(prefix.length)
        // A job's lock and its log have its key, and more.
        if (!id.includes(":") && id.split("_")[1]?.startsWith(archiveId)) ids.add(id)
      }
      cursor = next
    } while (cursor !== "0")
  }
}

/** The jobs of these ids that are there, in this order. Each is read in one step, so that it is in one state. */
export async function readArchiveJobs(
  connection: RedisClient,
  queue: string,
  jobIds: readonly string[],
): Promise<ArchiveJob[]> {
  if (jobIds.length === 0) return []
  const suspensions = await listSuspensions(connection, queue)
  const jobs = await Promise.all(
    jobIds.map(async (jobId) => {
      const keys = [
        queueKey(queue, ""),
        heldKey(queue, ""),
        suspensionsKey(queue),
        checkpointKey(queue, jobId),
      ]
      const facts = (await connection.eval(READ_JOB, keys.length, ...keys, jobId)) as string | null
      return facts === null ? [] : [jobOf(jobId, JSON.parse(facts) as JobFacts, suspensions)]
    }),
  )
  return jobs.flat()
}

function jobOf(jobId: string, facts: JobFacts, suspensions: readonly Suspension[]): ArchiveJob {
  const [projectId = "", archiveId = ""] = jobId.split("_")
  const { fields, due, lockMs } = facts
  const added = timeOf(fields.timestamp, fields.finishedOn)
  const held = facts.held && parseName(facts.held)
  const suspension = held
    ? suspensions.find(({ projectId, side }) => projectId === held.projectId && side === held.side)
    : undefined
  const state = stateOf(facts, suspension)
  const since = {
    running: timeOf(fields.processedOn, added),
    held: timeOf(fields.heldSince, due && facts.maxMs ? due - facts.maxMs : undefined, added),
    dead: timeOf(fields.finishedOn, fields.processedOn, added),
    completed: timeOf(fields.finishedOn, fields.processedOn, added),
    ...{ waiting: added, delayed: added, orphaned: added },
  }[state]
  const reason = fields.failedReason
  const iso = (name: string, ms: number | undefined) => (ms === undefined ? {} : { [name]: isoOf(ms) })
  const upload = uploadOf(facts)
  return {
    ...{ jobId, projectId, archiveId, state },
    ...{ since: isoOf(since ?? 0), addedAt: isoOf(added ?? 0) },
    attempts: Number.parseInt(fields.atm ?? "", 10) || 0,
    failure: reason && state !== "completed" ? { code: codeOf(reason), reason } : null,
    ...(state === "waiting" && facts.ahead !== undefined && { ahead: facts.ahead }),
    ...(["delayed", "held"].includes(state) && iso("until", timeOf(due))),
    ...(fields.pb && { worker: fields.pb }),
    ...(state === "running" && { isLocked: lockMs > 0 }),
    ...iso("missingSince", timeOf(fields.missingSince)),
    ...iso("archivedSince", timeOf(fields.archivedSince)),
    lostWorkers: Number.parseInt(fields.stc ?? "", 10) || 0,
    ...(suspension && { suspension: { ...suspension, isProbe: facts.probe === jobId } }),
    ...(upload && { upload }),
    ...(!facts.hasPayload && { damaged: true as const }),
  }
}

function stateOf({ place, held }: JobFacts, suspension: Suspension | undefined): ArchiveJobState {
  if (place !== "delayed" || !held) return place
  // One that is ending puts what it held back in line.
  return suspension === undefined ? "waiting" : "held"
}

/** The first of these that is a time in milliseconds since the epoch. */
function timeOf(...candidates: (string | number | null | undefined)[]): number | undefined {
  return candidates.map((value) => Number(value ?? Number.NaN)).find((ms) => ms > 0 && ms < 8.64e15)
}

const isoOf = (ms: number): string => new Date(ms).toISOString()

function uploadOf({ upload, partsWritten }: JobFacts): ArchiveUpload | null {
  try {
    const { token, destinationKey, partSize, plaintextSize } = JSON.parse(upload ?? "null")
    const parts = Math.ceil(plaintextSize / partSize)
    if (!Number.isSafeInteger(parts) || typeof token !== "string") return null
    // The last part is shorter than the others; which one has no receipt yet is not asked.
    const bytesWritten = Math.min(partsWritten * partSize, plaintextSize)
    return { token, destinationKey, parts, partsWritten, bytes: plaintextSize, bytesWritten }
  } catch {
    // There is none, or it is damaged: the job begins anew.
    return null
  }
}

const escapeGlob = (text: string): string => text.replace(/[*?[\]\\]/g, "\\$&")
