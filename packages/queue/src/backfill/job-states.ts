/** The states of many archives' jobs, in few commands. */
import { findJobs } from "../jobs/find-job.ts"
import { firstIdOf } from "../jobs/redrive-id.ts"
import { discardedKey, queueKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import { codeOf, type FailureCode } from "../run/ending.ts"

/** The state of an archive's job, or of the one that it was redriven as. */
export type JobOfArchive =
  /** There is no job: it was never enqueued, or was completed more than an hour ago, or Redis lost it. */
  | { readonly state: "none" }
  /** It waits, runs or is delayed. */
  | { readonly state: "live"; readonly jobId: string; readonly isDelayed: boolean }
  /** Within the last hour. `nextId` is the unused id for a job that starts again. */
  | { readonly state: "completed"; readonly jobId: string; readonly nextId: string }
  | { readonly state: "dead"; readonly jobId: string; readonly code: FailureCode; readonly reason: string }
  /** An operator discarded its dead letter at `discardedAt`, in milliseconds since the epoch. */
  | { readonly state: "discarded"; readonly discardedAt: number }

/** How many jobs Redis looks at per command. That takes it a few milliseconds. */
const AT_ONCE = 100

/** The states of the jobs that `jobIdOf` names, in this order. */
export async function readJobStates(
  connection: RedisClient,
  queue: string,
  jobIds: readonly string[],
): Promise<JobOfArchive[]> {
  const states: JobOfArchive[] = []
  for (let at = 0; at < jobIds.length; at += AT_ONCE)
    states.push(...(await readSome(connection, queue, jobIds.slice(at, at + AT_ONCE))))
  return states
}

async function readSome(
  connection: RedisClient,
  queue: string,
  jobIds: readonly string[],
): Promise<JobOfArchive[]> {
  const found = await findJobs(connection, queue, jobIds)
  const reading = connection.pipeline()
  for (const [index, job] of found.entries()) {
    if (job === null) reading.zscore(discardedKey(queue), firstIdOf(jobIds[index]!))
    else if (job.state === "dead") reading.hmget(queueKey(queue, job.jobId), "failedReason", "name")
    else reading.zscore(queueKey(queue, "delayed"), job.jobId)
  }
  const details = ((await reading.exec()) ?? []).map(([error, detail]) => {
    if (error) throw error
    return detail
  })
  return found.map((job, index): JobOfArchive => {
    const detail = details[index]
    if (job === null)
      return detail ? { state: "discarded", discardedAt: Number(detail) * 1_000 } : { state: "none" }
    const { state, jobId, nextId } = job
    if (state === "completed") return { state, jobId, nextId }
    if (state === "live") return { state, jobId, isDelayed: detail !== null }
    const [text, name] = detail as [string | null, string | null]
    // Between the two commands somebody has redriven or discarded it. Whoever asks again learns which.
    if (text === null && name === null) return { state: "live", jobId, isDelayed: true }
    const reason = text || "ERR_JOB_INVALID: the reason is lost"
    return { state, jobId, code: codeOf(reason), reason }
  })
}
