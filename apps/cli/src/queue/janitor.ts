/**
 * `unseal janitor`: aborts the uploads at the destinations that no job owns. Killed workers leave them: those that ended between
 * beginning an upload and noting it, those of a dead letter that nobody has redriven for eight days, those of a Redis that lost
 * its memory. The next run of an archive ends what was left of it; the janitor comes for archives that nobody runs again.
 *
 * An upload is left alone if
 * - its key is none that Unseal writes: the bucket may be somebody else's too;
 * - it is young (`--older-than`): a worker begins it before it can note it, and a decryption by hand notes nothing at all;
 * - a live job, or a dead letter that may go on with it, has an upload to its key, this or another. The job ends its own, and on a store that can't remove the parts of
 *   one upload alone (azure.ts) the remains of another are not worth the risk; the next run of the janitor finds them.
 *
 * What is aborted wrongly after all, say because clocks differ by hours, costs its job the parts that were written: it
 * begins anew, and nothing wrong is ever visible. So any number of janitors may run at once, beside live workers.
 */

import { counted } from "@unseal/archive/counted"
import { isUnsealError, type UnsealError } from "@unseal/archive/errors"
import { recordKeyOf } from "@unseal/archive/record/record"
import type { ArchiveStore, OpenUpload } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { findUploadOwners } from "@unseal/queue/upload-owners"
import { matchesKeyTemplate } from "@unseal/service/key-template"
import type { DestinationProject } from "@unseal/service/projects"
import { env, readDestinationSettings } from "../config.ts"
import { readDuration } from "../terminal/duration.ts"
import { throwWorst } from "../terminal/exit.ts"
import { sayNotices } from "../terminal/store-notices.ts"
import { withQueue } from "./connection.ts"

export interface JanitorCommandOptions {
  readonly olderThan: string
  readonly dryRun?: true
  readonly json?: true
}

/** What was found in one store. */
interface Sweep {
  readonly store: string
  /** Open uploads in all: those below, and the aborted ones. */
  open: number
  /** Under keys that Unseal does not write. */
  foreign: number
  young: number
  /** Left to a live job. */
  owned: number
  readonly aborted: { readonly key: string; readonly startedAt: string }[]
}

/** Uploads whose owners are looked for together: the janitor's memory has an end. */
const BATCH = 1_000

export async function janitorCommand(options: JanitorCommandOptions, signal: AbortSignal): Promise<void> {
  const olderThanMs = readDuration("--older-than", options.olderThan)
  const { projects } = readDestinationSettings()
  const byStore = Map.groupBy(
    projects.ids.map((id) => projects.get(id)!),
    ({ destination }) => destination,
  )
  const sweeps: Sweep[] = []
  const failures: UnsealError[] = []
  await withQueue(async ({ connection, settings }) => {
    const findOwners = (keys: ReadonlySet<string>) =>
      findUploadOwners(connection, settings.UNSEAL_QUEUE, keys, signal)
    for (const [url, sharers] of byStore) {
      const store = await openStore(url, { env, onNotice: sayNotices(url) })
      const sweep: Sweep = { store: store.location, open: 0, foreign: 0, young: 0, owned: 0, aborted: [] }
      const failed = failures.length
      const bornBefore = new Date(Date.now() - olderThanMs)
      try {
        for await (const batch of candidates(store, sharers, bornBefore, sweep, signal)) {
          const { isOwned } = await findOwners(new Set(batch.map(({ key }) => key)))
          for (const upload of batch) {
            if (await isOwned(upload.key)) {
              sweep.owned++
              continue
            }
            if (!options.dryRun) await store.abortUpload(upload, signal)
            const aborted = { key: upload.key, startedAt: upload.startedAt.toISOString() }
            sweep.aborted.push(aborted)
            if (!options.json)
              process.stdout.write(
                `${options.dryRun ? "would abort" : "aborted"} ${store.location}/${upload.key}, begun ${aborted.startedAt}\n`,
              )
          }
        }
      } catch (error) {
        // The other stores need not wait for this one.
        if (signal.aborted || !isUnsealError(error)) throw error
        failures.push(error)
      } finally {
        // What could not be looked at has not none.
        if (failures.length === failed || sweep.open > 0) sweeps.push(sweep)
        await store.close()
      }
    }
  }, signal)
  if (options.json)
    process.stdout.write(`${JSON.stringify({ dryRun: Boolean(options.dryRun), stores: sweeps })}\n`)
  for (const { store, open, foreign, young, owned, aborted } of sweeps)
    process.stderr.write(
      `${store}: ${counted(open, "open upload")}, ${aborted.length} ${options.dryRun ? "to abort" : "aborted"}, ${owned} of live jobs, ${young} young, ${foreign} not Unseal's\n`,
    )
  throwWorst(failures)
}

/** The open uploads that may be orphans, in batches; the others are counted. */
async function* candidates(
  store: ArchiveStore,
  projects: readonly DestinationProject[],
  bornBefore: Date,
  sweep: Sweep,
  signal: AbortSignal,
): AsyncGenerator<OpenUpload[]> {
  const isOurs = (key: string) =>
    projects.some(({ id, destinationKey }) =>
      [destinationKey, recordKeyOf(destinationKey)].some((template) => matchesKeyTemplate(template, id, key)),
    )
  let batch: OpenUpload[] = []
  for await (const upload of store.openUploads(signal)) {
    sweep.open++
    if (!isOurs(upload.key)) sweep.foreign++
    else if (upload.startedAt > bornBefore) sweep.young++
    else batch.push(upload)
    if (batch.length < BATCH) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
