/** From the last written part to an object that is known to be visible. */

import { counted } from "../counted.ts"
import { isUnsealError, UnsealError } from "../errors.ts"
import { hasMarks, sealRecord } from "../record/committed.ts"
import type { ArchiveRecord } from "../record/record.ts"
import { type VerifyRule, verifyCommit } from "../record/verify.ts"
import type { ArchiveStore, CreateOptions, PartWriter, StoredObject } from "../store/contract.ts"
import type { CheckpointLog, PartReceipt } from "./checkpoint.ts"
import type { Prover } from "./proof.ts"
import { during, type StepObserver } from "./steps.ts"

/** An archive with all parts written, none of them visible yet. */
export interface Complete {
  readonly destination: ArchiveStore
  /** Absent if the object is already at the destination: `ours`. */
  readonly writer: PartWriter | undefined
  readonly ours: StoredObject | null
  readonly receipts: ReadonlyMap<number, PartReceipt>
  /** Bytes. */
  readonly plaintextSize: number
  readonly create: CreateOptions
  readonly record: ArchiveRecord
  readonly prover: Prover
}

export interface CommitOptions {
  readonly verify?: VerifyRule
  readonly checkpoint?: CheckpointLog
  readonly fence?: () => Promise<void>
  readonly observe?: StepObserver
}

/**
 * Makes the object visible, and verifies it: `ERR_COMMIT_MISMATCH` if it is wrong. From here on it may be visible, whatever
 * happens. Throws the errors of the destination and of `fence`.
 */
export async function commit(
  { destination, writer, ours, receipts, plaintextSize, create, record, prover }: Complete,
  options: CommitOptions,
  signal: AbortSignal,
): Promise<StoredObject> {
  const rule = options.verify ?? "size"
  const { observe, fence } = options
  if (ours !== null && rule === "size") return ours
  const size = [...receipts.values()].reduce((sum, receipt) => sum + receipt.size, 0)
  if (size !== plaintextSize) throw new RangeError(`${size} bytes were written, not ${plaintextSize}`)
  // With the sealed record the next run can check the visible object. An object of one request has none, unless it is read back:
  // reading its source once more is cheaper than one more write for each.
  if (writer?.resumable || rule === "content") await options.checkpoint?.seal(sealRecord(record, prover))
  let stored = ours
  if (writer !== undefined) {
    if (fence) await during(observe, "confirming the lock", fence)
    stored = await during(observe, "committing", () => writer.complete(receipts, signal))
    if (rule === "size" && !writer.resumable) return stored
  }
  const found = await destination.stat(record.destination.key, signal)
  try {
    await during(observe, "reading what was committed", () =>
      verifyCommit(destination, found, record, rule, signal, observe?.moved),
    )
  } catch (cause) {
    if (!isUnsealError(cause, "ERR_COMMIT_MISMATCH") || found === null || !isAnothers(found, create))
      throw cause
    throw new UnsealError(
      "ERR_DESTINATION_EXISTS",
      `${destination.location} holds another object of ${counted(found.size, "byte")} under ${found.key}, which replaced this archive as soon as it was complete`,
      { cause },
    )
  }
  return found !== null && hasMarks(found, create.metadata) ? found : stored!
}

/** Whether somebody else wrote `found`. Only archives with marks can tell. One that may be replaced is written again. */
const isAnothers = (found: StoredObject, { existing, metadata }: CreateOptions): boolean =>
  existing === "fail" && Object.keys(metadata).length > 0 && !hasMarks(found, metadata)
