/** Enqueues payloads by hand: a callback's, or one made from the vendor's data about an archive. */
import { randomUUID } from "node:crypto"
import { createProducer } from "@unseal/queue/enqueue/producer"
import { type ArchiveJob, readArchiveJobs } from "@unseal/queue/jobs/archive-jobs"
import { findJob } from "@unseal/queue/jobs/find-job"
import { createJobPayload, type JobPayload, jobIdOf } from "@unseal/queue/jobs/job"
import type { VendorArchive } from "@unseal/vendor/client"
import type { QueueAccess } from "./queue-access.ts"

/** The outcome for a submitted payload. */
export type Submitted =
  | { readonly outcome: "enqueued"; readonly jobId: string }
  /** `of`: the duplicated job, as far as the queue still knows it. */
  | { readonly outcome: "duplicate"; readonly jobId: string; readonly of?: ArchiveJob }

/**
 * Enqueues `payload`. With `again`, a new job follows one that was completed; a live job or a dead letter still makes it a
 * duplicate. Throws `QueueUnavailableError`.
 */
export async function submit(access: QueueAccess, payload: JobPayload, again: boolean): Promise<Submitted> {
  const { connection, queue } = access
  const producer = createProducer(access)
  try {
    const first = jobIdOf(payload)
    const found = await findJob(connection, queue, first)
    const isDone = found?.state === "completed" && again
    // A redriven job has another id.
    if (found !== null && !isDone && found.jobId !== first) return await duplicate(access, found.jobId)
    const jobId = isDone ? found.nextId : first
    const { outcome } = await producer.enqueue(payload, jobId)
    return outcome === "enqueued" ? { outcome, jobId } : await duplicate(access, jobId)
  } finally {
    await producer.close()
  }
}

async function duplicate({ connection, queue }: QueueAccess, jobId: string): Promise<Submitted> {
  const [of] = await readArchiveJobs(connection, queue, [jobId])
  return { outcome: "duplicate", jobId, ...(of && { of }) }
}

/** An archive with a password, which can be decrypted. */
export type EncryptedArchive = VendorArchive & { readonly encryptedPassword: string }

export const isEncrypted = (archive: VendorArchive): archive is EncryptedArchive =>
  archive.encryptedPassword !== undefined

/** The payload for `archive` of the vendor's REST API. Throws `ERR_JOB_INVALID`. */
export function payloadOfArchive(projectId: string, archive: EncryptedArchive): JobPayload {
  const { archiveId, encryptedPassword, status, size, sha256sum, url } = archive
  return createJobPayload({
    ...{ projectId, archiveId, status, encryptedPassword },
    ...{ receivedAt: new Date().toISOString(), nonce: randomUUID() },
    ...(size === undefined ? {} : { size }),
    ...(sha256sum === undefined ? {} : { sha256sum }),
    ...(url?.startsWith("https://") ? { url } : {}),
  })
}
