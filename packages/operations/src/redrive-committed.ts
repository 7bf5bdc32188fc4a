/** Redrives finished archives as new jobs, which count as accepted and committed anew. */
import type { ArchiveJob } from "@unseal/queue/jobs/archive-jobs"
import { type JobPayload, jobIdOf } from "@unseal/queue/jobs/job"
import { inLane, type Lane } from "@unseal/queue/jobs/lane"
import type { VendorClient } from "@unseal/vendor/client"
import { OperationError } from "./operation-error.ts"
import type { QueueAccess } from "./queue-access.ts"
import { isEncrypted, payloadOfArchive, submit } from "./submit.ts"

export interface RedriveCommittedDependencies extends QueueAccess {
  /** The vendor's REST API of a project, or of the only one if none is named. May throw if credentials are missing. */
  readonly vendorOf: (projectId: string | undefined) => Pick<VendorClient, "projectId" | "getArchive">
}

/** The outcome for one archive. `id` is what named it. */
export type RedriveCommittedOutcome =
  /** It is in line as `jobId`; in a dry run it could be. */
  | { readonly kind: "redriven"; readonly id: string; readonly archiveId: string; readonly jobId: string }
  /** Its job is live, or a dead letter, and must end first. `of` is absent if the job has just disappeared. */
  | { readonly kind: "duplicate"; readonly id: string; readonly archiveId: string; readonly of?: ArchiveJob }

/**
 * Enqueues the archives of `ids`, of archives or jobs, as new jobs. The queue keeps no password of finished work, so the vendor is
 * asked for it. Nothing is enqueued unless the vendor knows all of them and has their passwords: `ERR_ARCHIVE_UNKNOWN`,
 * `ERR_ARCHIVE_NOT_ENCRYPTED`. Throws `ERR_OPTION_INVALID` at once; also `VendorError` and `QueueUnavailableError`. An abort of
 * `signal` ends it with its reason.
 */
export function redriveCommitted(
  dependencies: RedriveCommittedDependencies,
  options: {
    readonly ids: readonly string[]
    /** The project of ids that name none themselves. */
    readonly projectId?: string | undefined
    readonly dryRun: boolean
    /** Default `live`. */
    readonly lane?: Lane | undefined
  },
  signal: AbortSignal,
): AsyncGenerator<RedriveCommittedOutcome> {
  const { ids, projectId, dryRun } = options
  if (ids.length === 0)
    throw new OperationError("ERR_OPTION_INVALID", "nothing says which archives are meant")
  return redriveEach()

  async function* redriveEach(): AsyncGenerator<RedriveCommittedOutcome> {
    const payloads: JobPayload[] = []
    for (const id of ids) payloads.push(await payloadOf(id))
    for (const [index, payload] of payloads.entries()) {
      signal.throwIfAborted()
      yield await one(ids[index]!, payload)
    }
  }

  async function payloadOf(id: string): Promise<JobPayload> {
    const [project, archiveId = id] = id.includes("_") ? id.split("_") : [projectId, id]
    const vendor = dependencies.vendorOf(project)
    const archive = await vendor.getArchive(archiveId.toLowerCase(), signal)
    if (archive === null)
      throw new OperationError(
        "ERR_ARCHIVE_UNKNOWN",
        `the vendor knows no archive ${archiveId} of project ${vendor.projectId}`,
      )
    if (!isEncrypted(archive))
      throw new OperationError(
        "ERR_ARCHIVE_NOT_ENCRYPTED",
        `archive ${archiveId} is ${archive.status} and has no password: there is nothing to decrypt`,
      )
    return inLane(payloadOfArchive(vendor.projectId, archive), options.lane ?? "live")
  }

  async function one(id: string, payload: JobPayload): Promise<RedriveCommittedOutcome> {
    const { archiveId } = payload
    if (dryRun) return { kind: "redriven", id, archiveId, jobId: jobIdOf(payload) }
    const submitted = await submit(dependencies, payload, true)
    if (submitted.outcome === "enqueued") return { kind: "redriven", id, archiveId, jobId: submitted.jobId }
    return { kind: "duplicate", id, archiveId, ...(submitted.of && { of: submitted.of }) }
  }
}
