/**
 * The mission: an encrypted archive in one store becomes a decrypted one in another, all or nothing.
 *
 * The order of the steps is the commit protocol (ARCHITECTURE.md, "Guarantees"): pin the source's version, look whether the
 * work is done already, prove the content key on the first packets, and only then begin an upload; complete it only after
 * every byte is accounted for and the caller has confirmed (`fence`) that this run still owns the job.
 */
import { type Announced, checkSize, needsPadding, requireAnnouncedSize } from "./announced.ts"
import { type ArchiveKey, createArchiveKey, type UnlockedKey } from "./archive-key.ts"
import type { ByteBudget } from "./budget.ts"
import type { Checkpoint, CheckpointLog, PartReceipt } from "./checkpoint.ts"
import { commit } from "./commit.ts"
import { findCommitted, metadataOf, writeRecord } from "./committed.ts"
import { decryptLastBlock, decryptPart } from "./decrypt-part.ts"
import {
  checkPartSize,
  decryptHead,
  type HeadPart,
  type PartObserver,
  type TransferResult,
  transferParts,
} from "./decrypt-parts.ts"
import { NO_CONTENT_KEY, unwrapContentKey } from "./format/content-key.ts"
import type { KeyRing } from "./format/key-ring.ts"
import { type Part, planParts } from "./format/parts.ts"
import { keptSize, readTail, type Tail, type TailRule } from "./format/tail.ts"
import { type PinnedArchive, pinArchive } from "./pinned.ts"
import { namePlain } from "./plain.ts"
import { receiptFacts } from "./proof.ts"
import { type ArchiveRecord, checkAnnounced, checkDamage, createRecord, finishRecord } from "./record.ts"
import { during } from "./steps.ts"
import type {
  ArchiveSource,
  ArchiveStore,
  CreateOptions,
  PartWriter,
  StoredObject,
} from "./store/contract.ts"
import { discardRun, discardUpload, isKept, resumeUpload } from "./upload.ts"
import type { VerifyRule } from "./verify.ts"
import { untilAborted } from "./waiting.ts"

/** One archive: where it is, where it goes, and the password that came with it. */
export interface ArchiveRequest {
  readonly archiveId: string
  readonly projectId: string
  /** As the callback brought it: base64. */
  readonly encryptedPassword: string
  readonly source: ArchiveSource
  /** Keys to look under, in this order. */
  readonly sourceKeys: readonly string[]
  readonly destination: ArchiveStore
  readonly destinationKey: string
  /** What the callback said of the archive. */
  readonly announced?: Announced
}

export interface DecryptOptions {
  readonly keyRing: KeyRing
  readonly budget: ByteBudget
  readonly tail: TailRule
  /** `none` leaves the CRC-32, which costs less and need not be in order. */
  readonly digest: "sha256" | "none"
  /** A destination with other content: refuse it, or replace it. */
  readonly existing: "fail" | "replace"
  /** `require` refuses an archive whose announced `sha256sum` is neither the ciphertext's nor the plaintext's. */
  readonly announcedDigest?: "record" | "require"
  /** `require` waits (`ERR_OBJECT_INCOMPLETE`) for an object of the announced size, give or take a block. */
  readonly announcedSize?: "record" | "require"
  /** Of the packets, how many may be without a sync byte: 0 to 1. Default: a half. */
  readonly maxDamage?: number
  /** How far the destination's word is taken that an object is complete. Default: `size`. */
  readonly verify?: VerifyRule
  /** Leave the record and the marks that tell a later run what the object was made from. Off for a single archive by hand. */
  readonly record: boolean
  /** Where to resume from and to leave a trace; absent, any failure removes what was uploaded. */
  readonly checkpoint?: CheckpointLog
  /** Confirms, right before the object becomes visible, that this run still owns the archive; throws if not. */
  readonly fence?: () => Promise<void>
  /** 1 for the first. */
  readonly attempt?: number
  readonly observe?: PartObserver
}

export interface DecryptResult {
  /** `already-committed`: an earlier run had done it · `empty`: nothing was published in the session, and 0 bytes are right. */
  readonly outcome: "committed" | "already-committed" | "empty"
  readonly record: ArchiveRecord
}

/** An archive whose pieces have been found: what the steps after it work on. */
interface Found {
  readonly archive: PinnedArchive
  readonly key: ArchiveKey
  readonly checkpoint: Checkpoint | null
  /** The object at the destination, if it is this archive's: only its record is missing. */
  readonly ours: StoredObject | null
  readonly create: CreateOptions
}

/** What a run holds until it ends, however it ends. */
interface Held {
  archive?: Promise<PinnedArchive>
  writer?: PartWriter
  head?: HeadPart
  key?: ArchiveKey
}

/**
 * Decrypts one archive. Resolves when the object and its record are visible at the destination; otherwise throws, and nothing
 * is visible. Running it again, also at the same time, is harmless. Throws an `UnsealError` of any code, or `signal.reason`.
 */
export async function decryptArchive(
  request: ArchiveRequest,
  options: DecryptOptions,
  signal: AbortSignal,
): Promise<DecryptResult> {
  const startedAt = new Date().toISOString()
  const { observe, checkpoint } = options
  const held: Held = {}
  try {
    const found = await during(observe, "looking at the source and the destination", () =>
      look(request, options, held, signal),
    )
    if ("record" in found) {
      await checkpoint?.clear()
      return { outcome: "already-committed", record: found.record }
    }
    const { object } = found.archive
    if (options.announcedSize === "require") requireAnnouncedSize(object, request.announced)
    checkSize(object, request.announced)
    const key = await during(observe, "unwrapping the key", () => untilAborted(found.key.unlock(), signal))
    const moved = await move(request, options, found, key, held, signal)
    const record = createRecord({
      archive: request,
      source: object,
      destination: { key: request.destinationKey, size: moved.plaintextSize },
      transfer: moved,
      keyId: key.keyId,
      tail: moved.tail,
      announced: request.announced,
      attempts: options.attempt ?? 1,
      startedAt,
    })
    checkDamage(record, options.maxDamage)
    if (options.announcedDigest === "require") checkAnnounced(record)
    const stored = await commit(
      { ...moved, ...request, writer: held.writer, record, prover: key.prover },
      options,
      signal,
    )
    const committed = finishRecord(record, stored)
    if (options.record)
      await during(observe, "writing the record", () => writeRecord(request.destination, committed, signal))
    await checkpoint?.clear()
    return { outcome: object.size === 0 ? "empty" : "committed", record: committed }
  } catch (cause) {
    const error = await namePlain(cause, held.archive, signal)
    if (!isKept(error, options.checkpoint))
      await during(observe, "removing what was uploaded", () =>
        discardRun(request.destination, held.writer, checkpoint),
      )
    throw error
  } finally {
    held.head?.memory.release()
    held.archive?.then(
      (archive) => archive.close(),
      () => {},
    )
    held.key?.close()
  }
}

/** Pins the source's version, and looks whether the destination holds its plaintext already. */
async function look(
  request: ArchiveRequest,
  options: DecryptOptions,
  held: Held,
  signal: AbortSignal,
): Promise<Found | { record: ArchiveRecord }> {
  const { source, sourceKeys, destination } = request
  // What most archives are written in, or their first part.
  held.archive = pinArchive(source, sourceKeys, destination.partSizeFor(0), signal)
  const [archive, existing, checkpoint] = await Promise.all([
    held.archive,
    destination.stat(request.destinationKey, signal),
    options.checkpoint?.load() ?? null,
  ])
  const create = {
    contentType: "video/mp2t",
    metadata: options.record ? metadataOf(request, archive.object, options.tail) : {},
    existing: options.existing,
    ...(options.observe?.moved && { moved: options.observe.moved }),
  }
  // An empty archive needs no key, and its password may be of any.
  const key = createArchiveKey(async () =>
    archive.object.size === 0
      ? { contentKey: NO_CONTENT_KEY }
      : unwrapContentKey(options.keyRing, request.encryptedPassword, signal),
  )
  held.key = key
  const looked = { archive, key, checkpoint, create, ours: null }
  if (existing === null) return looked
  const rule = options.verify ?? "size"
  const { found, record } = await findCommitted(
    { store: destination, existing, source: archive.object, create, checkpoint, key, verify: rule },
    signal,
  )
  // Whoever made the object, nobody will complete the upload that the checkpoint still names.
  if (found !== "another" && checkpoint?.upload) await discardUpload(destination, checkpoint.upload)
  if (record !== undefined) return { record }
  if (found === "broken") return { ...looked, create: replacing(create) }
  return { ...looked, ours: found === "ours" ? existing : null }
}

/** An object with this archive's marks and other bytes is one of a commit that went wrong. */
const replacing = (create: CreateOptions): CreateOptions => ({ ...create, existing: "replace" })

interface Moved extends TransferResult, Pick<Found, "ours" | "create"> {
  /** Bytes. */
  readonly plaintextSize: number
  readonly tail: Tail
}

/** Every byte from the source to the destination, none of it visible yet. */
async function move(
  { destination, destinationKey, announced }: ArchiveRequest,
  options: DecryptOptions,
  found: Found,
  { contentKey, prover }: UnlockedKey,
  held: Held,
  signal: AbortSignal,
): Promise<Moved> {
  const { archive, checkpoint } = found
  const { object } = archive
  const observe = options.observe ?? {}
  const readEnd = () =>
    during(observe, "reading the last block", () => decryptLastBlock(archive, contentKey, signal))
  const isDoubtful = options.announcedSize === "require" && needsPadding(object.size, announced)
  const end = options.tail === "trim" || isDoubtful ? await readEnd() : undefined
  if (end && isDoubtful) requireAnnouncedSize(object, announced, readTail(object.size, end).padding)
  const plaintextSize = end ? keptSize(object.size, readTail(object.size, end), options.tail) : object.size
  const ours = found.ours?.size === plaintextSize ? found.ours : null
  const create = found.ours === ours ? found.create : replacing(found.create)
  const work = {
    destinationKey,
    sourceKey: object.key,
    sourceEtag: object.etag,
    sourceSize: object.size,
    plaintextSize,
  }
  const resumed = ours
    ? null
    : await during(observe, "resuming the upload", () =>
        resumeUpload(destination, work, checkpoint, create, prover, signal),
      )
  if (resumed) held.writer = resumed.writer
  const trusted: ReadonlyMap<number, PartReceipt> = resumed?.trusted ?? new Map()
  const partSize = resumed?.writer.partSize ?? destination.partSizeFor(plaintextSize)
  checkPartSize(object.size, partSize, options.budget)
  const plan = planParts(object.size, plaintextSize, partSize)
  const digest = options.digest === "sha256"
  // Of nothing but a padding that is trimmed there is no part, so no ciphertext to hash: no digest rather than that of nothing.
  const isHashable = plan.count > 0 || object.size === 0
  const hash = { plaintext: digest, ciphertext: digest && isHashable && Boolean(announced?.sha256sum) }
  const decrypt = (part: Part, memory: Uint8Array, abort: AbortSignal) =>
    decryptPart(archive, part, contentKey, hash.ciphertext, memory, abort, observe.moved)

  const parts = { plan, decrypt, hash, observe, budget: options.budget }

  // Before an upload begins, the first part proves the content key.
  if (plan.count > 0 && !trusted.has(1)) held.head = await decryptHead(parts, signal)
  archive.close()
  if (held.writer === undefined && ours === null) {
    await during(observe, "beginning the upload", async () => {
      held.writer = await destination.create(destinationKey, plaintextSize, create, signal)
      const { token, resumable, partSize } = held.writer
      if (resumable) await options.checkpoint?.begin({ ...work, token, partSize })
    })
  }
  const { writer, head } = held
  const keep = async (number: number, receipt: PartReceipt) => {
    if (!writer?.resumable) return
    const upload = { ...work, token: writer.token, partSize: writer.partSize }
    const proof = prover.prove(...receiptFacts(upload, number, receipt))
    await options.checkpoint?.part(number, { ...receipt, proof })
  }
  const transferred = await transferParts(
    {
      ...parts,
      plaintextSize,
      writer,
      trusted,
      head,
      onWritten: keep,
    },
    signal,
  )
  const tail = readTail(object.size, end ?? transferred.end ?? (await readEnd()))
  return { ...transferred, plaintextSize, tail, ours, create }
}
