/** Where an archive is in the queue, for whoever knows no more of it than its id. */
import type { RedisClient } from "./client.ts"
import { codeOf, type FailureCode } from "./ending.ts"
import { heldKey, queueKey } from "./names.ts"
import { listSuspensions, nameOf, type Suspension } from "./suspension-state.ts"

/** A job of an archive. */
export interface ArchiveJob {
  readonly jobId: string
  readonly projectId: string
  /** `held`: by a suspension · `delayed`: until its next attempt · `dead`: a dead letter · `completed`: within the last hour. */
  readonly state: "waiting" | "running" | "delayed" | "held" | "dead" | "completed"
  /** ISO 8601: since when it is in that state, as far as the queue knows. */
  readonly since: string
  /** ISO 8601. */
  readonly addedAt: string
  /** That failed, or the only one. */
  readonly attempts: number
  /** Why the last attempt failed, and its code; `null` if none has. */
  readonly failure: { readonly code: FailureCode; readonly reason: string } | null
  /** What holds it back; only if it is `held`. */
  readonly suspension?: Suspension
}

/** Entries that one command looks at. */
const SCAN_COUNT = "1000"
const SETS = { prioritized: "waiting", delayed: "delayed", failed: "dead", completed: "completed" } as const
const LISTS = { wait: "waiting", paused: "waiting", active: "running" } as const

/** All jobs of `archiveId` (a UUID) that the queue holds, the oldest first. Looks through the whole queue, a bit at a time. */
export async function findArchiveJobs(
  connection: RedisClient,
  queue: string,
  archiveId: string,
): Promise<ArchiveJob[]> {
  const states = new Map<string, ArchiveJob["state"]>()
  for (const [list, state] of Object.entries(LISTS))
    for (const id of await connection.lrange(queueKey(queue, list), 0, -1))
      if (id.includes(`_${archiveId}_`)) states.set(id, state)
  for (const [set, state] of Object.entries(SETS)) {
    let cursor = "0"
    do {
      const [next, found] = await connection.zscan(
        queueKey(queue, set),
        cursor,
        ...(["MATCH", `*_${archiveId}_*`, "COUNT", SCAN_COUNT] as const),
      )
      for (let index = 0; index < found.length; index += 2) states.set(found[index]!, state)
      cursor = next
    } while (cursor !== "0")
  }
  const suspensions = await listSuspensions(connection, queue)
  const jobs = await Promise.all(
    [...states].map(async ([jobId, state]) => {
      const fields = await connection.hmget(queueKey(queue, jobId), ...FIELDS)
      const job = jobOf(jobId, state, fields)
      for (const suspension of state === "delayed" ? suspensions : []) {
        const name = nameOf(suspension.projectId, suspension.side)
        if ((await connection.zscore(heldKey(queue, name), jobId)) !== null)
          return { ...job, state: "held" as const, suspension }
      }
      return job
    }),
  )
  return jobs.sort((a, b) => (a.addedAt < b.addedAt ? -1 : 1))
}

const FIELDS = ["timestamp", "processedOn", "finishedOn", "atm", "failedReason"] as const

function jobOf(
  jobId: string,
  state: ArchiveJob["state"],
  [added, processed, finished, attempts, reason]: readonly (string | null)[],
): ArchiveJob {
  const time = (...candidates: (string | null | undefined)[]) =>
    new Date(candidates.map((text) => Number(text ?? Number.NaN)).find((ms) => ms > 0 && ms < 8.64e15) ?? 0)
  const isOver = state === "dead" || state === "completed"
  const since = isOver
    ? time(finished, processed, added)
    : state === "running"
      ? time(processed, added)
      : time(added)
  return {
    ...{ jobId, state, projectId: jobId.split("_")[0]! },
    ...{ since: since.toISOString(), addedAt: time(added, finished).toISOString() },
    attempts: Number.parseInt(attempts ?? "", 10) || 0,
    failure: reason && state !== "completed" ? { code: codeOf(reason), reason } : null,
  }
}
