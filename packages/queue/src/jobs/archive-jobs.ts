/** Finds an archive in the queue by its id alone. */
import type { Redis } from "ioredis"
import { queueKey } from "../names.ts"
import { masters, type RedisClient } from "../redis/client.ts"
import { codeOf, type FailureCode, type RunResult } from "../run/ending.ts"
import { listSuspensions, parseName, type Suspension } from "../suspension/state.ts"
import { type JobFacts, readJobFacts } from "./job-facts.ts"
import { type Lane, laneOf } from "./lane.ts"

/**
 * `waiting`: in line · `delayed`: until its next attempt, or the next look for its object · `held`: by a suspension · `dead`: a dead
 * letter · `completed`: within the last hour · `orphaned`: Redis lost its place, and the next callback puts it back in line.
 */
export type ArchiveJobState = "waiting" | "running" | "delayed" | "held" | "dead" | "completed" | "orphaned"

/** A job of an archive. Times are ISO 8601. */
export interface ArchiveJob {
  readonly jobId: string
  readonly projectId: string
  readonly archiveId: string
  readonly state: ArchiveJobState
  readonly lane: Lane
  /** Since when it has been in that state; if unknown, when it was added. */
  readonly since: string
  readonly addedAt: string
  /** The failed attempt, or the only one. */
  readonly attempts: number
  /** The reason and the code of the last failed attempt; `null` if none has failed. */
  readonly failure: { readonly code: FailureCode; readonly reason: string } | null
  /** How many jobs are before it in line. Only while it waits. */
  readonly ahead?: number
  /** When its delay ends. For a held job: when it becomes a dead letter, or is tried as the probe. */
  readonly until?: string
  /** The worker that took it last, as `HOST:PID`. */
  readonly worker?: string
  /** Only while it runs: whether its lock is valid. Without the lock its worker is gone, and another takes the job soon. */
  readonly isLocked?: boolean
  /** Since when its object has been missing at the source, or in an archival storage class. */
  readonly missingSince?: string
  readonly archivedSince?: string
  /** How many workers ended while they ran it. */
  readonly lostWorkers: number
  /** The suspension that holds it, and whether it is tried next. Only if it is `held`. */
  readonly suspension?: Suspension & { readonly isProbe: boolean }
  /** The upload that it has begun, and how much of it is written. */
  readonly upload?: ArchiveUpload
  /** Bytes of the archive as its callback announced them, the archive's status then, and when the callback arrived. */
  readonly announcedBytes?: number
  readonly status?: string
  readonly receivedAt?: string
  /** The key that its object has at the source, if that was given. */
  readonly sourceKey?: string
  /** How long its run takes so far, or its last run took. In milliseconds. */
  readonly runMs?: number
  /** What its run returned, once it is completed. */
  readonly result?: RunResult
  /** Its payload is lost or unreadable. */
  readonly damaged?: true
}

/** The progress of a job's upload. Bytes are of plaintext. */
export interface ArchiveUpload {
  readonly token: string
  readonly destinationKey: string
  readonly parts: number
  readonly partsWritten: number
  readonly bytes: number
  readonly bytesWritten: number
}

/** How many keys Redis looks at per request. */
const SCAN_COUNT = 1_000
/** How many jobs Redis reads per request, which takes it a few milliseconds. */
const AT_ONCE = 100

/**
 * Finds the jobs of archives whose id begins with `archiveId` (a UUID in lower case, or a prefix of one), the oldest first. Looks
 * through all keys of Redis, a thousand at a time.
 */
export async function findArchiveJobs(
  connection: RedisClient,
  queue: string,
  archiveId: string,
): Promise<ArchiveJob[]> {
  const unlimited = { keys: Number.POSITIVE_INFINITY, jobs: Number.POSITIVE_INFINITY }
  return (await searchArchiveJobs(connection, queue, archiveId, unlimited)).jobs
}

/** The result of `searchArchiveJobs`. */
export interface ArchiveSearch {
  readonly jobs: ArchiveJob[]
  /** Whether all keys were looked through. */
  readonly isComplete: boolean
}

/** Like `findArchiveJobs`, but ends once it has looked at `limits.keys` keys, or found `limits.jobs` jobs. */
export async function searchArchiveJobs(
  connection: RedisClient,
  queue: string,
  archiveId: string,
  limits: { readonly keys: number; readonly jobs: number },
): Promise<ArchiveSearch> {
  const ids = new Set<string>()
  let left = limits.keys
  let isComplete = true
  for (const server of masters(connection)) await scan(server)
  const jobs = await readArchiveJobs(connection, queue, [...ids].slice(0, limits.jobs))
  return { jobs: jobs.sort((a, b) => (a.addedAt < b.addedAt ? -1 : 1)), isComplete }

  async function scan(server: Redis): Promise<void> {
    const prefix = queueKey(queue, "")
    const matching = `${escapeGlob(prefix)}*_${escapeGlob(archiveId)}*`
    let cursor = "0"
    do {
      if (left <= 0 || ids.size > limits.jobs) {
        isComplete = false
        return
      }
      const [next, keys] = await server.scan(cursor, "MATCH", matching, "COUNT", SCAN_COUNT)
      left -= SCAN_COUNT
      for (const key of keys) {
        const id = key.slice(prefix.length)
        // The keys of a job's lock and log begin with its own key.
        if (!id.includes(":") && id.split("_")[1]?.startsWith(archiveId)) ids.add(id)
      }
      cursor = next
    } while (cursor !== "0")
  }
}

/** The existing jobs with these ids, in this order. Each is read in one step, and so in a single state. */
export async function readArchiveJobs(
  connection: RedisClient,
  queue: string,
  jobIds: readonly string[],
): Promise<ArchiveJob[]> {
  if (jobIds.length === 0) return []
  const suspensions = await listSuspensions(connection, queue)
  const jobs: ArchiveJob[] = []
  for (let at = 0; at < jobIds.length; at += AT_ONCE) {
    const ids = jobIds.slice(at, at + AT_ONCE)
    for (const [index, facts] of (await readJobFacts(connection, queue, ids)).entries())
      if (facts !== null) jobs.push(jobOf(ids[index]!, facts, suspensions))
  }
  return jobs
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
    ...{ jobId, projectId, archiveId, state, lane: laneOf(facts.payload) },
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
    ...announcedOf(facts.payload),
    ...runOf(facts, state),
    ...(!facts.hasPayload && { damaged: true as const }),
  }
}

function announcedOf({ size, status, receivedAt, sourceKey }: JobFacts["payload"]) {
  return {
    ...(size !== undefined && { announcedBytes: size }),
    ...(status !== undefined && { status }),
    ...(receivedAt !== undefined && { receivedAt }),
    ...(sourceKey !== undefined && { sourceKey }),
  }
}

function runOf({ fields }: JobFacts, state: ArchiveJobState) {
  const begun = timeOf(fields.processedOn)
  const ended = state === "running" ? Date.now() : timeOf(fields.finishedOn)
  return {
    ...(begun !== undefined && ended !== undefined && { runMs: Math.max(0, ended - begun) }),
    ...(state === "completed" && { result: resultIn(fields.returnvalue) }),
  }
}

function resultIn(text: string | undefined): RunResult {
  try {
    const value: unknown = JSON.parse(text ?? "null")
    return typeof value === "object" && value !== null ? (value as RunResult) : {}
  } catch {
    return {}
  }
}

function stateOf({ place, held }: JobFacts, suspension: Suspension | undefined): ArchiveJobState {
  if (place !== "delayed" || !held) return place
  // A suspension that is ending puts what it held back in line.
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
    // The last part is shorter than the others. It is not checked which one has no receipt yet.
    const bytesWritten = Math.min(partsWritten * partSize, plaintextSize)
    return { token, destinationKey, parts, partsWritten, bytes: plaintextSize, bytesWritten }
  } catch {
    // There is none, or it is damaged: the job starts over.
    return null
  }
}

const escapeGlob = (text: string): string => text.replace(/[*?[\]\\]/g, "\\$&")
