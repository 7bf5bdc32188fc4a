/**
 * `unseal archives reconcile`: what the vendor has recorded, against what is done and what is being done. It finds what no
 * callback told of, and what a Redis forgot that lost its memory.
 *
 * An encrypted archive is enqueued, with the password from the REST API, if there is no record of it at its destination and
 * no job of it in the queue. Any number of reconcilers may run at once, beside callbacks: the job's id is the same for all.
 * - A job that was completed within the last hour while its record is not there: somebody removed what it wrote. It is done
 *   once more, under the id that a redrive would have. (The job is looked up before the record, which is written before it
 *   completes.)
 * - A dead letter stays one, and is named: trying again what failed for good is for a person to decide (`queue redrive`).
 * - An archive that has expired with the vendor, without a record, is lost, and is named as well.
 */

import { counted } from "@unseal/archive/counted"
import { isUnsealError, type UnsealError } from "@unseal/archive/errors"
import { recordKeyOf } from "@unseal/archive/record/record"
import type { OpenedStore } from "@unseal/archive/store/adapter"
import { openStore } from "@unseal/archive/store/open"
import { findJob } from "@unseal/queue/find-job"
import { jobIdOf } from "@unseal/queue/job"
import { createProducer, type Producer } from "@unseal/queue/producer"
import { fillKeyTemplate } from "@unseal/service/key-template"
import type { DestinationProject } from "@unseal/service/projects"
import type { VendorArchive } from "@unseal/vendor/client"
import { env, readReconcileSettings } from "../config.ts"
import { payloadOfArchive } from "../queue/again.ts"
import { withQueue } from "../queue/connection.ts"
import { readDuration } from "../terminal/duration.ts"
import { throwWorst, UsageError } from "../terminal/exit.ts"
import { sayNotices } from "../terminal/store-notices.ts"
import { openVendor } from "../vendor.ts"

export interface ReconcileCommandOptions {
  readonly project?: string
  readonly lookBack: string
  readonly dryRun?: true
  readonly json?: true
}

interface Named {
  readonly archiveId: string
  readonly jobId: string
}

/** What was found of one project, among the archives of the look-back. */
interface Findings {
  readonly projectId: string
  /** Archives looked at, of any kind. */
  archives: number
  /** Of these, encrypted ones that can be or could have been decrypted: those below. */
  encrypted: number
  /** With a record at the destination. */
  done: number
  /** In the queue. */
  live: number
  readonly enqueued: Named[]
  readonly deadLetters: Named[]
  /** Archive ids. */
  readonly expired: string[]
}

/** Archives whose jobs and records are looked up at the same time. */
const AT_ONCE = 16
/** Nobody waits for an answer as a callback's sender does. */
const ENQUEUE_DEADLINE_MS = 10_000
/** The list is newest first, but not to be relied on to the archive: it is left after so many in a row that are too old. */
const OLD_IN_A_ROW = 100

export async function reconcileCommand(options: ReconcileCommandOptions, signal: AbortSignal): Promise<void> {
  const lookBackMs = readDuration("--look-back", options.lookBack, { min: 60_000 })
  const { projects, vendors } = readReconcileSettings()
  const wanted = options.project === undefined ? projects.ids : [options.project.toLowerCase()]
  for (const id of wanted) if (!projects.get(id)) throw new UsageError(`there is no project ${id}`)
  const [able, unable] = [true, false].map((has) =>
    wanted.filter((id) => (vendors.get(id)?.credentials !== undefined) === has),
  ) as [string[], string[]]
  // With one it is an error, and which settings are missing is said.
  if (able.length === 0) openVendor({ project: wanted[0]! })
  for (const id of unable)
    process.stderr.write(`project ${id} is left out: it has no credentials for the REST API\n`)

  const findings: Findings[] = []
  const failures: UnsealError[] = []
  await withQueue(async ({ connection, settings }) => {
    const queue = settings.UNSEAL_QUEUE
    const producer = createProducer({ connection, queue, deadlineMs: ENQUEUE_DEADLINE_MS })
    try {
      for (const id of able) {
        const project = projects.get(id)!
        const { destination } = project
        const store = await openStore(destination, { env, onNotice: sayNotices(destination) })
        const found: Findings = {
          ...{ projectId: id, archives: 0, encrypted: 0, done: 0, live: 0 },
          ...{ enqueued: [], deadLetters: [], expired: [] },
        }
        const failed = failures.length
        const judge = (archive: VendorArchive) =>
          reconcile(archive, found, { project, store, connection, queue, producer, options }, signal)
        try {
          for await (const batch of recent(id, lookBackMs, found, signal)) await Promise.all(batch.map(judge))
        } catch (error) {
          // The other projects need not wait for this one's vendor or store.
          if (signal.aborted || !isUnsealError(error)) throw error
          failures.push(error)
        } finally {
          // What could not be looked at has not none.
          if (failures.length === failed || found.archives > 0) findings.push(found)
          await store.close()
        }
      }
    } finally {
      await producer.close()
    }
  }, signal)
  report(findings, options)
  throwWorst(failures)
}

/** The encrypted archives of the look-back that can be, or could have been, decrypted, in batches; all others are counted. */
async function* recent(
  projectId: string,
  lookBackMs: number,
  found: Findings,
  signal: AbortSignal,
): AsyncGenerator<VendorArchive[]> {
  const oldest = Date.now() - lookBackMs
  let old = 0
  let batch: VendorArchive[] = []
  for await (const archive of openVendor({ project: projectId }).client.listArchives({}, signal)) {
    old = (archive.createdAt ?? Number.POSITIVE_INFINITY) < oldest ? old + 1 : 0
    if (old >= OLD_IN_A_ROW) break
    if (old > 0) continue
    found.archives++
    if (archive.encryptedPassword === undefined) continue
    if (!["uploaded", "available", "expired"].includes(archive.status)) continue
    found.encrypted++
    batch.push(archive)
    if (batch.length < AT_ONCE) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

interface Surroundings {
  readonly project: DestinationProject
  readonly store: OpenedStore
  readonly connection: Parameters<typeof findJob>[0]
  readonly queue: string
  readonly producer: Producer
  readonly options: ReconcileCommandOptions
}

async function reconcile(
  archive: VendorArchive,
  found: Findings,
  { project, store, connection, queue, producer, options }: Surroundings,
  signal: AbortSignal,
): Promise<void> {
  const { archiveId, status } = archive
  const identity = { projectId: project.id, archiveId, encryptedPassword: archive.encryptedPassword! }
  const job = await findJob(connection, queue, jobIdOf(identity))
  if (job?.state === "live") {
    found.live++
    return
  }
  const record = await store.stat(recordKeyOf(fillKeyTemplate(project.destinationKey, identity)), signal)
  if (record !== null) found.done++
  else if (job?.state === "dead") found.deadLetters.push({ archiveId, jobId: job.jobId })
  else if (status === "expired") found.expired.push(archiveId)
  else {
    const payload = payloadOfArchive(project.id, archive)
    const jobId = job?.nextId ?? jobIdOf(identity)
    const { outcome } = options.dryRun ? { outcome: "enqueued" } : await producer.enqueue(payload, jobId)
    // Somebody else was faster: a callback, or another reconciler.
    if (outcome === "duplicate") found.live++
    else found.enqueued.push({ archiveId, jobId })
  }
}

function report(findings: readonly Findings[], options: ReconcileCommandOptions): void {
  const dryRun = Boolean(options.dryRun)
  if (options.json) process.stdout.write(`${JSON.stringify({ dryRun, projects: findings })}\n`)
  for (const found of findings) {
    if (!options.json) {
      for (const { archiveId, jobId } of found.enqueued)
        process.stdout.write(`${dryRun ? "would enqueue" : "enqueued"} ${archiveId} as ${jobId}\n`)
      for (const { archiveId, jobId } of found.deadLetters)
        process.stdout.write(`dead letter ${archiveId}: unseal queue redrive --id ${jobId}\n`)
      for (const archiveId of found.expired)
        process.stdout.write(`lost ${archiveId}: it has expired with the vendor\n`)
    }
    process.stderr.write(
      `project ${found.projectId}: ${counted(found.archives, "archive")}, ${found.encrypted} encrypted: ${found.done} done, ${found.live} in the queue, ${found.enqueued.length} ${dryRun ? "to enqueue" : "enqueued"}, ${counted(found.deadLetters.length, "dead letter")}, ${found.expired.length} expired\n`,
    )
  }
}
