/** Payloads are handed to the queue by hand: a callback's, or what the vendor tells of an archive. */
import { randomUUID } from "node:crypto"
import { type ArchiveJob, readArchiveJobs } from "@unseal/queue/archive-jobs"
import { findJob } from "@unseal/queue/find-job"
import { createJobPayload, type JobPayload, jobIdOf } from "@unseal/queue/job"
import { createProducer } from "@unseal/queue/producer"
import type { VendorArchive } from "@unseal/vendor/client"
import type { QueueAccess } from "./queue-access.ts"

/** What became of a payload that was handed to the queue. */
export type Submitted =
  | { readonly outcome: "enqueued"; readonly jobId: string }
  /** `of`: what the queue knows of the job that it is a duplicate of, if that is still there. */
  | { readonly outcome: "duplicate"; readonly jobId: string; readonly of?: ArchiveJob }

/**
 * Enqueues `payload`. With `again`, a job of it that was completed is none to stop at: a new one follows. One that is live or a dead
 * letter is a duplicate all the same. `QueueUnavailableError`.
 */
export async function submit(access: QueueAccess, payload: JobPayload, again: boolean): Promise<Submitted> {
  const { connection, queue } = access
  const producer = createProducer({ connection, queue })
  try {
    const first = jobIdOf(payload)
    const found = await findJob(connection, queue, first)
    const isDone = found?.state === "completed" && again
    // Redriven, it has another id.
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

/** An archive that has a password: one that can be decrypted. */
export type EncryptedArchive = VendorArchive & { readonly encryptedPassword: string }

export const isEncrypted = (archive: VendorArchive): archive is EncryptedArchive =>
  archive.encryptedPassword !== undefined

/** The payload of `archive` as the vendor's REST API has it. `ERR_JOB_INVALID`. */
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
