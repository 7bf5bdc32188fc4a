/** `unseal archives show ID`: where an archive is in the queue, at the stores and at the vendor, and what is next. */

import { counted } from "@unseal/archive/counted"
import { type ArchiveJob, findArchiveJobs } from "@unseal/queue/jobs/archive-jobs"
import { type Pause, readPause } from "@unseal/queue/pause"
import { ConfigurationError } from "@unseal/service/settings/settings"
import { env, readShownProjects } from "../config.ts"
import { withQueue } from "../queue/connection.ts"
import { EXIT, UsageError } from "../terminal/exit.ts"
import { nextMove, type ShownArchive } from "./next.ts"
import { type Looked, lookAtPlaces } from "./places.ts"
import { archiveText } from "./text.ts"

export interface ArchivesShowOptions {
  readonly project?: string
  readonly json?: true
}

const ARCHIVE_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const BEGINNING = /^[0-9a-f-]{4,35}$/
/** With more projects, only those whose archive the queue knows are looked at. */
const MOST_PROJECTS = 50
const AT_ONCE = 8
const MOST_SUGGESTIONS = 5

export async function archivesShowCommand(
  given: string,
  options: ArchivesShowOptions,
  signal: AbortSignal,
): Promise<void> {
  const { archiveId, projectId } = readId(given, options.project?.toLowerCase())
  const read = readShownProjects(
    projectId === undefined || env.UNSEAL_PROJECTS_FILE ? {} : { UNSEAL_PROJECT_ID: projectId },
  )
  const queue = await lookAtQueue(archiveId, signal)
  if (!ARCHIVE_ID.test(archiveId)) throw suggestion(given, queue.jobs)

  const jobs = ("found" in queue.jobs ? queue.jobs.found : []).filter(
    (job) => projectId === undefined || job.projectId === projectId,
  )
  const ofQueue = [...new Set(jobs.map((job) => job.projectId))]
  const configured = (read?.projects.ids ?? []).filter((id) => projectId === undefined || id === projectId)
  const asked =
    configured.length <= MOST_PROJECTS ? configured : configured.filter((id) => ofQueue.includes(id))
  const shown: ShownArchive[] = []
  for (const ids of batches([...new Set([...ofQueue, ...asked])]))
    shown.push(
      ...(await Promise.all(
        ids.map(async (id): Promise<ShownArchive> => {
          const project = read?.projects.get(id)
          const own = jobs.filter((job) => job.projectId === id)
          const sourceKey = own.findLast((job) => job.sourceKey !== undefined)?.sourceKey
          const places =
            project === undefined
              ? unknownProject(id)
              : await lookAtPlaces({ archiveId, sourceKey }, project, read?.vendors.get(id), signal)
          return { projectId: id, jobs: "found" in queue.jobs ? { found: own } : queue.jobs, ...places }
        }),
      )),
    )

  // With many projects, those that know nothing of it are left out.
  const known = shown.filter(isKnown)
  const told = known.length > 0 ? known : shown.length === 1 ? shown : []
  const left = configured.length - asked.length
  report(archiveId, told, queue.pause, options)
  if (told.length === 0 && "notLooked" in queue.jobs)
    process.stderr.write(`the queue was not looked at: ${queue.jobs.notLooked}\n`)
  if (told.length === 0 && read === null && projectId === undefined)
    process.stderr.write(
      "no store was looked at: set UNSEAL_PROJECT_ID with UNSEAL_SOURCE and UNSEAL_DESTINATION, or UNSEAL_PROJECTS_FILE\n",
    )
  if (told.length === 0)
    for (const { projectId, ...places } of shown)
      for (const [place, looked] of Object.entries(places))
        if (place !== "jobs" && place !== "vendor" && "notLooked" in looked)
          process.stderr.write(`project ${projectId}: ${place} not looked at: ${looked.notLooked}\n`)
  if (left > 0)
    process.stderr.write(
      `the stores of ${counted(left, "other project")} were not looked at: --project ID asks those of one\n`,
    )
  if (known.length > 0) return
  process.stderr.write(
    `unseal: archive ${archiveId} was not found${shown.length > 1 ? ` in any of ${shown.length} projects` : ""}\n`,
  )
  process.exitCode = EXIT.retry
}

/** Parses an archive's id as in the callback, or a job's id as the queue's commands print it. */
function readId(given: string, project: string | undefined): { archiveId: string; projectId?: string } {
  const id = given.trim().toLowerCase()
  const [ofJob, archiveOfJob] = id.split("_")
  const archiveId = archiveOfJob ?? id
  const projectId = archiveOfJob === undefined ? project : ofJob
  if (project !== undefined && projectId !== project)
    throw new UsageError(`the job ${given} belongs to project ${projectId}, but --project is ${project}`)
  if (!ARCHIVE_ID.test(archiveId) && !BEGINNING.test(archiveId))
    throw new UsageError(
      `${JSON.stringify(given)} is not an archive id: an id is a UUID, and the callback has it in "id"; its first four characters are enough to find it in the queue`,
    )
  return { archiveId, ...(projectId !== undefined && { projectId }) }
}

/** Suggests what a prefix may have meant, among the archives that the queue knows. */
function suggestion(given: string, jobs: Looked<readonly ArchiveJob[]>): UsageError {
  if ("notLooked" in jobs)
    return new UsageError(
      `${given} is the beginning of an id, and the queue could not be looked at (${jobs.notLooked}): give the whole id`,
    )
  const ids = [...new Set(jobs.found.map(({ archiveId }) => archiveId))]
  if (ids.length === 0)
    return new UsageError(`the queue knows no archive whose id begins with ${given}: give the whole id`)
  if (ids.length === 1) return new UsageError(`${given} is the beginning of an id: did you mean ${ids[0]}?`)
  const more = ids.length > MOST_SUGGESTIONS ? `, and ${ids.length - MOST_SUGGESTIONS} more` : ""
  return new UsageError(
    `${ids.length} archives begin with ${given}: ${ids.slice(0, MOST_SUGGESTIONS).join(", ")}${more}`,
  )
}

/** What the queue knows. An outage of Redis must not prevent the other results; wrong settings do, if somebody has set them. */
async function lookAtQueue(
  archiveId: string,
  signal: AbortSignal,
): Promise<{ jobs: Looked<readonly ArchiveJob[]>; pause: Pause | null }> {
  try {
    return await withQueue(async ({ connection, queue }) => {
      const [found, pause] = await Promise.all([
        findArchiveJobs(connection, queue, archiveId),
        readPause(connection, queue),
      ])
      return { jobs: { found }, pause }
    }, signal)
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof ConfigurationError && env.REDIS_URL) throw error
    const why = error instanceof ConfigurationError ? error.problems.join("; ") : (error as Error).message
    return { jobs: { notLooked: `${why}${env.REDIS_URL ? "" : "; REDIS_URL is not set"}` }, pause: null }
  }
}

function unknownProject(id: string) {
  const notLooked = env.UNSEAL_PROJECTS_FILE
    ? `project ${id} is not in UNSEAL_PROJECTS_FILE`
    : `project ${id} is not configured here; --project ${id} takes it`
  return {
    ...{ source: { notLooked }, destination: { notLooked } },
    ...{ uploads: { notLooked }, vendor: { notLooked } },
  }
}

function isKnown({ jobs, source, destination, uploads, vendor }: ShownArchive): boolean {
  return (
    ("found" in jobs && jobs.found.length > 0) ||
    ("found" in source && source.found.object !== null) ||
    ("found" in destination && (destination.found.object ?? destination.found.record) !== null) ||
    ("found" in uploads && uploads.found.length > 0) ||
    ("found" in vendor && vendor.found !== null)
  )
}

function report(
  archiveId: string,
  shown: readonly ShownArchive[],
  paused: Pause | null,
  options: ArchivesShowOptions,
): void {
  const projects = shown.map((archive) => ({ ...archive, next: nextMove(archive, paused) }))
  if (options.json) process.stdout.write(`${JSON.stringify({ archiveId, paused, projects })}\n`)
  else if (projects.length > 0)
    process.stdout.write(
      `${"archive".padEnd(15)}${archiveId}\n${projects.map(({ next, ...archive }) => archiveText(archive, next)).join("\n")}`,
    )
}

function* batches(ids: readonly string[]): Generator<readonly string[]> {
  for (let at = 0; at < ids.length; at += AT_ONCE) yield ids.slice(at, at + AT_ONCE)
}
