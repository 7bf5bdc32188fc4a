/**
 * Reconciling compares the vendor's recordings with finished and pending work. It finds archives that no callback announced, and
 * archives that Redis forgot when it lost its memory.
 *
 * An encrypted archive is enqueued, with the password from the REST API, if its destination has no record of it and the queue has
 * no job for it. Any number of reconcilers may run at once, beside callbacks: they all use the same job id.
 * - If a job was completed within the last hour but its record is missing, somebody removed its output. The job is done again,
 *   under the id that a redrive would have. (The job is looked up before the record, which is written before the job completes.)
 * - A dead letter stays one, and is named: a person must decide about retrying a permanent failure.
 * - An archive whose dead letter was discarded within the last thirty days is left alone, and is named. "unseal submit" or a
 *   callback enqueues it again.
 * - An archive that has expired at the vendor, without a record, is lost, and is named as well.
 */
import { isUnsealError, type UnsealError } from "@unseal/archive/errors"
import { recordKeyOf } from "@unseal/archive/record/record"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { wasDiscarded } from "@unseal/queue/dead-letters/discarded"
import { createProducer, type Producer } from "@unseal/queue/enqueue/producer"
import { findJob } from "@unseal/queue/jobs/find-job"
import { jobIdOf } from "@unseal/queue/jobs/job"
import { inLane, type Lane } from "@unseal/queue/jobs/lane"
import { fillKeyTemplate } from "@unseal/service/projects/key-template"
import type { DestinationProject } from "@unseal/service/projects/projects"
import type { VendorArchive, VendorClient } from "@unseal/vendor/client"
import { requireDuration } from "./operation-error.ts"
import type { QueueAccess } from "./queue-access.ts"
import { type EncryptedArchive, isEncrypted, payloadOfArchive } from "./submit.ts"

/** The parts of a destination that reconciling uses. */
export type ReconciledStore = Pick<OpenedStore, "stat" | "close">

export interface ReconcileDependencies extends QueueAccess {
  /** Opens the store that a URL names. The operation closes it. */
  readonly openStore: (url: string) => Promise<ReconciledStore>
  /** The vendor's REST API for a project; `null` without credentials for it. */
  readonly vendorOf: (projectId: string) => Pick<VendorClient, "listArchives"> | null
}

export interface ReconcileOptions {
  /** The projects whose archives are compared, one after the other. */
  readonly projects: readonly DestinationProject[]
  /** How old archives may be to be looked at: `MIN_LOOK_BACK_MS` or more. */
  readonly lookBackMs: number
  /** Enqueues nothing. */
  readonly dryRun: boolean
  /** Where archives are enqueued. Default `live`. An archive that is in the queue stays in its lane. */
  readonly lane?: Lane | undefined
}

/** A minute. */
export const MIN_LOOK_BACK_MS = 60_000

export interface NamedJob {
  readonly archiveId: string
  readonly jobId: string
}

/** The result for one project, for archives within the look-back. */
export interface Findings {
  readonly projectId: string
  /** All archives looked at, of any kind. */
  readonly archives: number
  /** The encrypted ones among them that can be, or could have been, decrypted, i.e. those below. */
  readonly encrypted: number
  /** Archives with a record at the destination. */
  readonly done: number
  /** Archives in the queue. */
  readonly live: number
  /** Enqueued, unless it is a dry run. */
  readonly enqueued: readonly NamedJob[]
  readonly deadLetters: readonly NamedJob[]
  /** Archive ids whose dead letters were discarded within the last thirty days. */
  readonly discarded: readonly string[]
  /** Archive ids. */
  readonly expired: readonly string[]
}

export type ReconcileEvent =
  /** The archive has just been enqueued, unless it is a dry run. */
  | ({ readonly kind: "enqueued"; readonly projectId: string } & NamedJob)
  /** A project is done. */
  | { readonly kind: "reconciled"; readonly findings: Findings }
  /** Reconciling a project failed before its end. The others are reconciled all the same. */
  | { readonly kind: "failed"; readonly findings: Findings; readonly error: UnsealError }
  /** There are no credentials for the project's REST API. */
  | { readonly kind: "left-out"; readonly projectId: string }

/** How many archives' jobs and records are looked up at the same time. */
const AT_ONCE = 16
/** Longer than for a callback, because no sender waits for the answer. */
const ENQUEUE_DEADLINE_MS = 10_000
/** The list is newest first, but not strictly. Reading ends after this many archives in a row that are too old. */
const OLD_IN_A_ROW = 100

/**
 * Reconciles `projects`, and yields each archive that it enqueues and each project. Nothing happens before the first event is
 * requested, or after the loop is left. Throws `ERR_OPTION_INVALID` at once; also `QueueUnavailableError`, and what opening a
 * store throws. An abort of `signal` ends it with its reason.
 */
export function reconcile(
  dependencies: ReconcileDependencies,
  options: ReconcileOptions,
  signal: AbortSignal,
): AsyncGenerator<ReconcileEvent> {
  requireDuration("the look-back", options.lookBackMs, MIN_LOOK_BACK_MS)
  return reconcileProjects(dependencies, options, signal)
}

async function* reconcileProjects(
  dependencies: ReconcileDependencies,
  options: ReconcileOptions,
  signal: AbortSignal,
): AsyncGenerator<ReconcileEvent> {
  const { connection, queue, replicas = 0, trace } = dependencies
  const producer = createProducer({ connection, queue, replicas, trace, deadlineMs: ENQUEUE_DEADLINE_MS })
  try {
    for (const project of options.projects) {
      signal.throwIfAborted()
      const vendor = dependencies.vendorOf(project.id)
      if (vendor === null) yield { kind: "left-out", projectId: project.id }
      else yield* reconcileProject({ ...dependencies, project, vendor, producer }, options, signal)
    }
  } finally {
    await producer.close()
  }
}

interface ProjectAccess extends ReconcileDependencies {
  readonly project: DestinationProject
  readonly vendor: Pick<VendorClient, "listArchives">
  readonly producer: Producer
}

type Counts = { -readonly [Field in "archives" | "encrypted" | "done" | "live"]: Findings[Field] }

async function* reconcileProject(
  access: ProjectAccess,
  { lookBackMs, dryRun, lane }: ReconcileOptions,
  signal: AbortSignal,
): AsyncGenerator<ReconcileEvent> {
  const projectId = access.project.id
  const counts: Counts = { archives: 0, encrypted: 0, done: 0, live: 0 }
  const [enqueued, deadLetters]: [NamedJob[], NamedJob[]] = [[], []]
  const [discarded, expired]: [string[], string[]] = [[], []]
  const findings = (): Findings => ({
    ...{ projectId, ...counts, enqueued, deadLetters, discarded, expired },
  })
  const store = await access.openStore(access.project.destination)
  try {
    for await (const batch of recent(access.vendor, lookBackMs, counts, signal)) {
      const judged = await Promise.allSettled(
        batch.map((archive) => judge(archive, access, store, { dryRun, lane }, signal)),
      )
      for (const [index, { archiveId }] of batch.entries()) {
        const one = judged[index]!
        if (one.status === "rejected") continue
        const verdict = one.value
        if (verdict.kind === "enqueued") {
          const job = { archiveId, jobId: verdict.jobId }
          enqueued.push(job)
          yield { kind: "enqueued", projectId, ...job }
        } else if (verdict.kind === "dead-letter") deadLetters.push({ archiveId, jobId: verdict.jobId })
        else if (verdict.kind === "discarded") discarded.push(archiveId)
        else if (verdict.kind === "expired") expired.push(archiveId)
        else counts[verdict.kind]++
      }
      const failed = judged.find((one) => one.status === "rejected")
      if (failed !== undefined) throw failed.reason
    }
    yield { kind: "reconciled", findings: findings() }
  } catch (error) {
    // The other projects need not wait for this one's vendor or store.
    if (signal.aborted || !isUnsealError(error)) throw error
    yield { kind: "failed", findings: findings(), error }
  } finally {
    await store.close()
  }
}

/** The encrypted archives within the look-back that can be, or could have been, decrypted, in batches. Counts all others. */
async function* recent(
  vendor: ProjectAccess["vendor"],
  lookBackMs: number,
  counts: Counts,
  signal: AbortSignal,
): AsyncGenerator<EncryptedArchive[]> {
  const oldest = Date.now() - lookBackMs
  let old = 0
  let batch: EncryptedArchive[] = []
  for await (const archive of vendor.listArchives({}, signal)) {
    old = (archive.createdAt ?? Number.POSITIVE_INFINITY) < oldest ? old + 1 : 0
    if (old >= OLD_IN_A_ROW) break
    if (old > 0) continue
    counts.archives++
    if (!isEncrypted(archive) || !hasEnded(archive)) continue
    counts.encrypted++
    batch.push(archive)
    if (batch.length < AT_ONCE) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

const hasEnded = ({ status }: VendorArchive) => ["uploaded", "available", "expired"].includes(status)

type Verdict =
  | { readonly kind: "done" }
  | { readonly kind: "live" }
  | { readonly kind: "discarded" }
  | { readonly kind: "expired" }
  | { readonly kind: "enqueued"; readonly jobId: string }
  | { readonly kind: "dead-letter"; readonly jobId: string }

/** The state of `archive`, which is enqueued if it has none. */
async function judge(
  archive: EncryptedArchive,
  { connection, queue, project, producer }: ProjectAccess,
  store: ReconciledStore,
  { dryRun, lane = "live" }: Pick<ReconcileOptions, "dryRun" | "lane">,
  signal: AbortSignal,
): Promise<Verdict> {
  const { archiveId, encryptedPassword, status } = archive
  const identity = { projectId: project.id, archiveId, encryptedPassword }
  const job = await findJob(connection, queue, jobIdOf(identity))
  if (job?.state === "live") return { kind: "live" }
  const record = await store.stat(recordKeyOf(fillKeyTemplate(project.destinationKey, identity)), signal)
  if (record !== null) return { kind: "done" }
  if (job?.state === "dead") return { kind: "dead-letter", jobId: job.jobId }
  if (await wasDiscarded(connection, queue, jobIdOf(identity))) return { kind: "discarded" }
  if (status === "expired") return { kind: "expired" }
  const jobId = job?.nextId ?? jobIdOf(identity)
  if (dryRun) return { kind: "enqueued", jobId }
  const { outcome } = await producer.enqueue(inLane(payloadOfArchive(project.id, archive), lane), jobId)
  // Somebody else was faster: a callback, or another reconciler.
  return outcome === "duplicate" ? { kind: "live" } : { kind: "enqueued", jobId }
}
