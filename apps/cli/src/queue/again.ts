/** Archives that are done, and are to be done once more: as a new job, which is accepted and committed anew. */
import { randomUUID } from "node:crypto"
import { counted } from "@unseal/archive/counted"
import { type ArchiveJob, readArchiveJobs } from "@unseal/queue/archive-jobs"
import { findJob } from "@unseal/queue/find-job"
import { createJobPayload, type JobPayload, jobIdOf } from "@unseal/queue/job"
import { createProducer } from "@unseal/queue/producer"
import type { VendorArchive } from "@unseal/vendor/client"
import { UsageError } from "../terminal/exit.ts"
import { openVendor } from "../vendor.ts"
import { withQueue } from "./connection.ts"

/** What became of a payload that was handed to the queue. */
export interface Submitted {
  readonly outcome: "enqueued" | "duplicate"
  readonly jobId: string
  /** Of which job it is a duplicate: what the queue knows of that. */
  readonly of?: ArchiveJob
}

type Connection = Parameters<typeof findJob>[0]
type QueueSettings = { readonly UNSEAL_QUEUE: string }

/**
 * Enqueues `payload`. With `again`, a job of it that was completed is none to stop at: a new one follows. One that is live or a dead
 * letter is a duplicate all the same. `QueueUnavailableError`.
 */
export async function submitPayload(
  connection: Connection,
  settings: QueueSettings,
  payload: JobPayload,
  again: boolean,
): Promise<Submitted> {
  const queue = settings.UNSEAL_QUEUE
  const producer = createProducer({ connection, queue })
  try {
    const first = jobIdOf(payload)
    const found = await findJob(connection, queue, first)
    const isDone = found?.state === "completed" && again
    // Redriven, it has another id.
    if (found !== null && !isDone && found.jobId !== first)
      return await duplicate(connection, queue, found.jobId)
    const jobId = isDone ? found.nextId : first
    const { outcome } = await producer.enqueue(payload, jobId)
    return outcome === "enqueued" ? { outcome, jobId } : await duplicate(connection, queue, jobId)
  } finally {
    await producer.close()
  }
}

async function duplicate(connection: Connection, queue: string, jobId: string): Promise<Submitted> {
  const [of] = await readArchiveJobs(connection, queue, [jobId])
  return { outcome: "duplicate", jobId, ...(of && { of }) }
}

/** What a duplicate is one of, as a clause; and what to do if that is not enough. */
export function describeDuplicate({ state, since, attempts, jobId }: ArchiveJob): string {
  if (state === "completed") return `committed ${since}; --again decrypts it once more`
  if (state === "dead")
    return `a dead letter since ${since}; give it a new life with unseal queue redrive --id ${jobId}`
  const tried = attempts === 0 ? "" : `, ${counted(attempts, "attempt")} so far`
  return `${state} since ${since}${tried}`
}

/** The payload of `archive` as the vendor's REST API has it; its password must be there. */
export function payloadOfArchive(projectId: string, archive: VendorArchive): JobPayload {
  const { archiveId, status, size, sha256sum, url } = archive
  return createJobPayload({
    ...{ projectId, archiveId, status, encryptedPassword: archive.encryptedPassword! },
    ...{ receivedAt: new Date().toISOString(), nonce: randomUUID() },
    ...(size === undefined ? {} : { size }),
    ...(sha256sum === undefined ? {} : { sha256sum }),
    ...(url?.startsWith("https://") ? { url } : {}),
  })
}

/**
 * `unseal queue redrive --committed ID…`: what was committed, as new jobs. The queue keeps no password of what is done, so that the
 * vendor is asked for it.
 */
export async function redriveCommitted(
  ids: readonly string[],
  options: { readonly project?: string; readonly dryRun?: true; readonly json?: true },
  signal: AbortSignal,
): Promise<void> {
  const redriven: { archiveId: string; jobId: string }[] = []
  await withQueue(async ({ connection, settings }) => {
    for (const id of ids) {
      const [projectId, archiveId = id] = id.includes("_") ? id.split("_") : [options.project, id]
      const vendor = openVendor(projectId === undefined ? {} : { project: projectId })
      const archive = await vendor.client.getArchive(archiveId.toLowerCase(), signal)
      if (archive?.encryptedPassword === undefined)
        throw new UsageError(
          archive === null
            ? `the vendor knows no archive ${archiveId} of project ${vendor.projectId}`
            : `archive ${archiveId} is ${archive.status} and has no password: there is nothing to decrypt`,
        )
      const payload = payloadOfArchive(vendor.projectId, archive)
      const { outcome, jobId, of } = options.dryRun
        ? { outcome: "enqueued" as const, jobId: jobIdOf(payload), of: undefined }
        : await submitPayload(connection, settings, payload, true)
      if (outcome === "enqueued") redriven.push({ archiveId: archive.archiveId, jobId })
      else process.stderr.write(`${id}: ${of ? describeDuplicate(of) : "in the queue already"}\n`)
      if (outcome === "enqueued" && !options.json)
        process.stdout.write(`${options.dryRun ? "would redrive" : "redriven"} ${archiveId} as ${jobId}\n`)
    }
  }, signal)
  if (options.json) process.stdout.write(`${JSON.stringify({ dryRun: Boolean(options.dryRun), redriven })}\n`)
  const count = redriven.length
  process.stderr.write(
    `${counted(count, "committed archive")} ${options.dryRun ? "would be redriven" : "redriven"}\n`,
  )
}
