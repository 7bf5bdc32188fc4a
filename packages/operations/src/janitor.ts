/**
 * The janitor aborts uploads at the destinations that no job owns. Killed workers leave them: workers that ended between
 * beginning an upload and noting it, dead letters that nobody has redriven for eight days, a Redis that lost its memory. An
 * archive's next run removes what earlier ones left; the janitor is for archives that nobody runs again.
 *
 * It leaves an upload alone if
 * - Unseal does not write its key: the bucket may have other users;
 * - it is young: a worker begins it before it can note it, and a decryption on the command line notes nothing at all;
 * - a live job, or a dead letter that may continue, has this or another upload to its key. The job ends its own. On a store that
 *   can't remove the parts of a single upload (Azure), the remains of another are not worth the risk; the janitor's next run
 *   finds them.
 *
 * An upload that is aborted by mistake, for example because clocks differ by hours, costs its job the written parts. The job starts
 * over, and nothing wrong ever becomes visible. So any number of janitors may run at once, beside live workers.
 */
import { isUnsealError, type UnsealError } from "@unseal/archive/errors"
import { recordKeyOf } from "@unseal/archive/record/record"
import type { OpenedStore, OpenUpload } from "@unseal/archive/store/contract"
import { findUploadOwners } from "@unseal/queue/jobs/upload-owners"
import { noteSweep } from "@unseal/queue/sweep-note"
import { matchesKeyTemplate } from "@unseal/service/projects/key-template"
import type { DestinationProject } from "@unseal/service/projects/projects"
import { requireDuration } from "./operation-error.ts"
import type { QueueAccess } from "./queue-access.ts"

/** The parts of a store that the janitor uses. */
export type SweptStore = Pick<OpenedStore, "location" | "openUploads" | "abortUpload" | "close">

export interface JanitorDependencies extends QueueAccess {
  /** Opens the store that a URL names. The janitor closes it. */
  readonly openStore: (url: string) => Promise<SweptStore>
}

export interface JanitorOptions {
  /** The projects whose destinations are swept, each store once. */
  readonly projects: readonly DestinationProject[]
  /** Younger uploads are left alone. */
  readonly olderThanMs: number
  /** Aborts nothing. */
  readonly dryRun: boolean
}

/** An upload that no job owns. */
export interface Orphan {
  readonly key: string
  /** ISO 8601. */
  readonly startedAt: string
}

/** The result for one store. */
export interface Sweep {
  /** Its location. */
  readonly store: string
  /** The number of all open uploads, i.e. of those below. */
  readonly open: number
  /** Uploads under keys that Unseal does not write. */
  readonly foreign: number
  readonly young: number
  /** Uploads left to a job or a dead letter. */
  readonly owned: number
  /** Aborted, unless it is a dry run. */
  readonly orphans: readonly Orphan[]
}

export type JanitorEvent =
  /** The upload has just been aborted, unless it is a dry run. */
  | { readonly kind: "orphan"; readonly store: string; readonly orphan: Orphan }
  /** A store is done. */
  | { readonly kind: "swept"; readonly sweep: Sweep }
  /** Sweeping a store failed before its end. The others are swept all the same. */
  | { readonly kind: "failed"; readonly sweep: Sweep; readonly error: UnsealError }

/** How many uploads' owners are looked up together, to bound the janitor's memory. */
const BATCH = 1_000

/**
 * Sweeps the destinations of `projects`, one store after the other, and yields each orphan and each store. Then it notes in Redis
 * what is left, for the metrics, if no store failed. Nothing happens before
 * the first event is requested, or after the loop is left. Throws `ERR_OPTION_INVALID` at once; also what opening a store throws.
 * An abort of `signal` ends it with its reason.
 */
export function sweepUploads(
  dependencies: JanitorDependencies,
  options: JanitorOptions,
  signal: AbortSignal,
): AsyncGenerator<JanitorEvent> {
  requireDuration("the age of uploads", options.olderThanMs)
  return sweepStores(dependencies, options, signal)
}

async function* sweepStores(
  dependencies: JanitorDependencies,
  { projects, olderThanMs, dryRun }: JanitorOptions,
  signal: AbortSignal,
): AsyncGenerator<JanitorEvent> {
  const left = { owned: 0, young: 0, orphan: 0, foreign: 0 }
  let isComplete = true
  for (const [url, sharers] of Map.groupBy(projects, ({ destination }) => destination)) {
    signal.throwIfAborted()
    const store = await dependencies.openStore(url)
    const orphans: Orphan[] = []
    const sweep = { store: store.location, open: 0, foreign: 0, young: 0, owned: 0, orphans }
    try {
      const bornBefore = new Date(Date.now() - olderThanMs)
      for await (const batch of candidates(store, sharers, bornBefore, sweep, signal)) {
        const keys = new Set(batch.map(({ key }) => key))
        const { isOwned } = await findUploadOwners(dependencies.connection, dependencies.queue, keys, signal)
        for (const upload of batch) {
          signal.throwIfAborted()
          if (await isOwned(upload.key)) {
            sweep.owned++
            continue
          }
          if (!dryRun) await store.abortUpload(upload, signal)
          const orphan = { key: upload.key, startedAt: upload.startedAt.toISOString() }
          orphans.push(orphan)
          yield { kind: "orphan", store: store.location, orphan }
        }
      }
      left.owned += sweep.owned
      left.young += sweep.young
      left.foreign += sweep.foreign
      left.orphan += dryRun ? orphans.length : 0
      yield { kind: "swept", sweep }
    } catch (error) {
      // The other stores need not wait for this one.
      if (signal.aborted || !isUnsealError(error)) throw error
      isComplete = false
      yield { kind: "failed", sweep, error }
    } finally {
      await store.close()
    }
  }
  // A count of only some stores would be wrong.
  if (isComplete) await noteSweep(dependencies.connection, dependencies.queue, left)
}

/** The open uploads that may be orphans, in batches. Counts the others. */
async function* candidates(
  store: SweptStore,
  projects: readonly DestinationProject[],
  bornBefore: Date,
  counts: { open: number; foreign: number; young: number },
  signal: AbortSignal,
): AsyncGenerator<OpenUpload[]> {
  const isOurs = (key: string) =>
    projects.some(({ id, destinationKey }) =>
      [destinationKey, recordKeyOf(destinationKey)].some((template) => matchesKeyTemplate(template, id, key)),
    )
  let batch: OpenUpload[] = []
  for await (const upload of store.openUploads(signal)) {
    counts.open++
    if (!isOurs(upload.key)) counts.foreign++
    else if (upload.startedAt > bornBefore) counts.young++
    else batch.push(upload)
    if (batch.length < BATCH) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
