/** What happens next to an archive, and whose move it is. */
import type { ArchiveJob } from "@unseal/queue/jobs/archive-jobs"
import type { Pause } from "@unseal/queue/pause"
import { FAILURES } from "@unseal/queue/run/ending"
import type { Looked, Places } from "./places.ts"

/** An archive of one project, as far as it could be looked at. */
export interface ShownArchive extends Places {
  readonly projectId: string
  /** The oldest first. */
  readonly jobs: Looked<readonly ArchiveJob[]>
}

const foundIn = <T>(looked: Looked<T>): T | undefined => ("found" in looked ? looked.found : undefined)

/** The job that decides what is next: a live one, else a dead letter, else the last that was completed. */
export function decidingJob(jobs: readonly ArchiveJob[]): ArchiveJob | undefined {
  const isLive = ({ state }: ArchiveJob) => ["running", "waiting", "delayed", "held"].includes(state)
  return (
    jobs.findLast(isLive) ??
    jobs.findLast(({ state }) => state === "dead") ??
    jobs.findLast(({ state }) => state === "orphaned") ??
    jobs.at(-1)
  )
}

/** One or two sentences: what happens by itself, or what to do. */
export function nextMove(archive: ShownArchive, pause: Pause | null): string {
  const job = decidingJob(foundIn(archive.jobs) ?? [])
  if (job === undefined || job.state === "completed") return withoutJob(archive, job)
  if (pause !== null && job.state !== "running" && job.state !== "dead")
    return 'the queue is paused, so that nothing begins: "unseal queue resume" ends the pause'
  switch (job.state) {
    case "running":
      return job.isLocked
        ? "nothing to do: a worker is decrypting it"
        : "nothing to do: its worker is gone, and another one takes the job within a minute; if none does, start a worker"
    case "waiting":
      return "nothing to do: a worker takes it when its turn comes; if nothing moves, start a worker"
    case "held":
      return `${job.suspension?.remedy}; then it goes on by itself, and "unseal queue resume --project ${job.projectId}" does not wait for the next probe`
    case "delayed":
      return delayed(archive, job)
    case "dead":
      return dead(archive, job)
    case "orphaned":
      return 'Redis has lost its place in line: the next callback for it, "unseal submit CALLBACK.json" or "unseal archives reconcile" puts it back in line'
  }
}

function delayed(archive: ShownArchive, { missingSince, archivedSince, until }: ArchiveJob): string {
  if (archivedSince !== undefined)
    return `${FAILURES.ERR_OBJECT_ARCHIVED.remedy}; it is looked for again at ${until}`
  if (missingSince === undefined) return `nothing to do: it is tried again at ${until}`
  const source = foundIn(archive.source)
  if (source?.object)
    return `nothing to do: its object is at the source now, and is looked for again at ${until}`
  return `its object is not at the source: see whether the vendor uploads to the store and under the key that are set here; it is looked for again at ${until}`
}

function dead(archive: ShownArchive, { jobId, failure, damaged }: ArchiveJob): string {
  if (isDone(archive))
    return `its plaintext is at the destination: nobody needs this dead letter; "unseal queue discard ${jobId} --reason …" removes it`
  if (damaged) return `its payload is lost: ${nextForDamaged(jobId)}`
  const { remedy } = FAILURES[failure?.code ?? "ERR_UNEXPECTED"]
  // Submitting it again replaces its dead letter.
  if (remedy.endsWith(", then submit it again"))
    return `${remedy}: "unseal submit CALLBACK.json" or "unseal archives reconcile"`
  return `${remedy.replace(/, then redrive$/, "")}; then "unseal queue redrive --id ${jobId}"`
}

/** What happens to a dead letter that has lost its payload. */
export const nextForDamaged = (jobId: string): string =>
  `"unseal submit CALLBACK.json" or "unseal archives reconcile" takes its place; "unseal queue discard ${jobId} --reason …" removes it`

/** Whether the destination holds this archive's plaintext, with its record. */
export function isDone(archive: ShownArchive): boolean {
  const destination = foundIn(archive.destination)
  return destination?.object != null && destination.isRecordOfObject && destination.record !== null
}

const SUBMIT = `"unseal submit CALLBACK.json", or "unseal archives reconcile", which asks the vendor for the password`

function withoutJob(archive: ShownArchive, completed: ArchiveJob | undefined): string {
  const destination = foundIn(archive.destination)
  const source = foundIn(archive.source)
  const vendor = foundIn(archive.vendor)
  if (isDone(archive)) return "nothing to do: it is decrypted"
  if (destination?.object) {
    if (!destination.isMarked)
      return "the object at the destination is not known to be this archive's: move it away, or let it be replaced (UNSEAL_EXISTING=replace)"
    return `its plaintext is at the destination without a record of it: ${SUBMIT}; a worker then writes the record alone`
  }
  if (destination === undefined && completed !== undefined)
    return `nothing to do: it was committed ${completed.since}`
  if (destination !== undefined && completed !== undefined)
    return `it was committed ${completed.since}, and its plaintext is gone since: "unseal queue redrive --committed ${completed.archiveId}" decrypts it once more`
  const notInQueue = "found" in archive.jobs ? "it is not in the queue" : "the queue could not be looked at"
  if (source?.object) return `${notInQueue}, and its object is at the source: ${SUBMIT}`
  if (vendor && !vendor.encrypted && ["uploaded", "available"].includes(vendor.status))
    return "it is not encrypted: there is nothing to decrypt"
  if (vendor?.status === "expired")
    return "it has expired with the vendor, and is neither at the source nor at the destination: it is lost"
  if (vendor?.status === "available")
    return `the vendor could not upload it and keeps a copy: ${SUBMIT}, fetches that`
  if (vendor) return `the vendor has it as "${vendor.status}": its callback comes once it is uploaded`
  return "it is in none of the places that could be looked at: compare the id with the callback's, or the project, and see whether these are the right stores and queue"
}
