/** Uploads that outlive the run that began them. */

import { isUnsealError } from "../errors.ts"
import { isPartSize } from "../format/part-plan.ts"
import type { ArchiveStore, CreateOptions, PartWriter } from "../store/contract.ts"
import { untilAborted } from "../waiting.ts"
import type { UnlockedKey } from "./archive-key.ts"
import type { Checkpoint, CheckpointLog, CheckpointUpload, PartReceipt, Work } from "./checkpoint.ts"
import { receiptFacts } from "./proof.ts"

/** How long removing a failed run's upload may take. The janitor removes the rest. */
const DISCARD_TIMEOUT_MS = 10_000

/**
 * Resumes an earlier run's upload with the parts that can be trusted: parts whose receipt is proved, and whose size and tag the
 * store confirms. `null` if there is no upload for exactly this `wanted` work in parts that suit the envelope, or if the store no
 * longer has it.
 */
export async function resumeUpload(
  store: ArchiveStore,
  wanted: Work,
  checkpoint: Checkpoint | null,
  create: CreateOptions,
  { contentKey, prover }: UnlockedKey,
  signal: AbortSignal,
): Promise<{ writer: PartWriter; trusted: ReadonlyMap<number, PartReceipt> } | null> {
  if (!checkpoint?.upload) return null
  const { upload, parts } = checkpoint
  const same = (Object.keys(wanted) as (keyof Work)[]).every((field) => upload[field] === wanted[field])
  if (!same) {
    await discardUpload(store, upload)
    return null
  }
  try {
    const writer = await store.create(
      upload.destinationKey,
      upload.plaintextSize,
      { ...create, token: upload.token },
      signal,
    )
    if (!isPartSize(contentKey.envelope, writer.partSize)) {
      await discardUpload(store, upload)
      return null
    }
    const written = await writer.written(signal)
    const begun = { ...upload, partSize: writer.partSize }
    const trusted = new Map(
      [...parts].filter(([number, receipt]) => {
        const part = written.get(number)
        const isThere = part?.tag === receipt.tag && part.size === receipt.size
        // A receipt goes into the record, so its word alone is not enough.
        return isThere && prover.confirms(receipt.proof, ...receiptFacts(begun, number, receipt))
      }),
    )
    return { writer, trusted }
  } catch (error) {
    if (isUnsealError(error, "ERR_UPLOAD_GONE")) return null
    throw error
  }
}

/** Ends an earlier run's upload. A store that does not answer now does not fail this run: the janitor comes later. */
export async function discardUpload(store: ArchiveStore, upload: CheckpointUpload): Promise<void> {
  const signal = AbortSignal.timeout(DISCARD_TIMEOUT_MS)
  const open = { key: upload.destinationKey, token: upload.token, startedAt: new Date(0) }
  await store.abortUpload(open, signal).catch(() => {})
}

/** A run's upload, as far as it has come. */
export interface RunUpload {
  writer?: PartWriter
  /** Set once the checkpoint has confirmed the note of it. */
  noted?: true
}

/** Removes the upload of a run that ended with `error`, unless a later run can resume it. Does not throw. */
export async function discardAfter(
  error: unknown,
  store: ArchiveStore,
  upload: RunUpload,
  checkpoint: CheckpointLog | undefined,
): Promise<void> {
  try {
    if (checkpoint !== undefined && isKept(error)) await discardUnnoted(upload, checkpoint)
    else await discardRun(store, upload, checkpoint)
  } catch {
    // The caller must learn of the run's own error. The janitor looks later and knows more.
  }
}

/** Removes the uploads of a run that failed for good, and of earlier ones. */
async function discardRun(
  store: ArchiveStore,
  { writer }: RunUpload,
  checkpoint: CheckpointLog | undefined,
): Promise<void> {
  if (writer !== undefined) await writer.abort()
  else {
    const left = await checkpoint?.load()
    if (left?.upload) await discardUpload(store, left.upload)
  }
  await checkpoint?.clear()
}

/**
 * Removes the upload of a run that ended without a verdict, if nobody can resume it: the checkpoint has never confirmed it, or no
 * longer names it, because Redis lost the note in a failover or another run has started over. If the note arrives late after all,
 * it names a missing upload, and the next run starts over.
 */
async function discardUnnoted({ writer, noted }: RunUpload, checkpoint: CheckpointLog): Promise<void> {
  if (!writer?.resumable) return
  if (!noted || !(await checkpoint.notes(writer.token))) await writer.abort()
}

/**
 * Removes the uploads to `key` that earlier runs of the archive began and no checkpoint names: their worker died before the note,
 * or Redis lost the note in a failover. Call it in a run that has just begun and noted `own`. It lists first, and then confirms
 * that it owns the archive. So everything that it removes was begun earlier, never by a run that took the archive from this one.
 * Rejects only with `signal.reason`; what can't be removed now is left to the janitor.
 */
export async function discardForgotten(
  store: ArchiveStore,
  key: string,
  own: Pick<PartWriter, "token">,
  checkpoint: Pick<CheckpointLog, "hasRivals">,
  signal: AbortSignal,
): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(DISCARD_TIMEOUT_MS)])
  try {
    const open = await untilAborted(Array.fromAsync(store.openUploads(limit, key)), limit)
    const forgotten = open.filter(({ token }) => !own.token.startsWith(token))
    if (forgotten.length === 0 || (await untilAborted(checkpoint.hasRivals(), limit))) return
    for (const upload of forgotten) await untilAborted(store.abortUpload(upload, limit), limit)
  } catch {
    // A store that denies the listing, or is silent, does not fail this run.
    signal.throwIfAborted()
  }
}

/**
 * Whether the upload stays for the next run. An error other than an `UnsealError` ends the run without a verdict on the archive: a
 * shutdown, or a lost lock (the upload may be another run's by now).
 */
function isKept(error: unknown): boolean {
  if (!isUnsealError(error)) return true
  // Kept even after the last attempt: a redriven archive resumes. The janitor removes what nobody resumes.
  return error.owner === "deployment" || (error.kind === "transient" && error.code !== "ERR_OBJECT_CHANGED")
}
