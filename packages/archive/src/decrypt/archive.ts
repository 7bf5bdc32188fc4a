/**
 * The mission: an encrypted archive in one store becomes a decrypted one in another, all or nothing.
 *
 * The order of the steps is the commit protocol (ARCHITECTURE.md, "Guarantees"): pin the source's version, look whether the
 * work is done already, prove the content key on the first packets, and only then begin an upload; complete it only after
 * every byte is accounted for and the caller has confirmed (`fence`) that this run still owns the job.
 */
import { plaintextSizeOf } from "../format/envelope.ts"
import { planParts } from "../format/part-plan.ts"
import type { Part } from "../format/parts.ts"
import { keptSize, readTail, type Tail } from "../format/tail.ts"
import { createOrderedAuthenticator, createOrderedDigest } from "../ordered/consumers.ts"
import { writeRecord } from "../record/committed.ts"
import {
  type ArchiveRecord,
  checkAnnounced,
  checkDamage,
  createRecord,
  finishRecord,
} from "../record/record.ts"
import type { PartWriter } from "../store/contract.ts"
import { untilAborted } from "../waiting.ts"
import { checkSize, needsPadding, requireAnnouncedSize } from "./announced.ts"
import type { ArchiveKey, UnlockedKey } from "./archive-key.ts"
import type { PartReceipt } from "./checkpoint.ts"
import { commit } from "./commit.ts"
import { type Found, look, replacing } from "./look.ts"
import { decryptEnd, decryptPart } from "./part.ts"
import { checkPartSize, decryptHead, type HeadPart, type TransferResult, transferParts } from "./parts.ts"
import type { PinnedArchive } from "./pinned.ts"
import { namePlain } from "./plain.ts"
import { receiptFacts } from "./proof.ts"
import type { ArchiveRequest, DecryptOptions } from "./request.ts"
import { discardForgotten, discardRun, discardUnnoted, isKept, resumeUpload } from "./resume.ts"
import { during } from "./steps.ts"

export type { ArchiveRequest, DecryptOptions }

export interface DecryptResult {
  /** `already-committed`: an earlier run had done it · `empty`: nothing was published in the session, and 0 bytes are right. */
  readonly outcome: "committed" | "already-committed" | "empty"
  readonly record: ArchiveRecord
}

/** What a run holds until it ends, however it ends. */
interface Held {
  archive?: Promise<PinnedArchive>
  writer?: PartWriter
  /** That the checkpoint was told of the writer's upload, and confirmed it. */
  noted?: true
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
    const key = await during(observe, "unwrapping the key", () => untilAborted(found.key.unlock(), signal))
    const { envelope } = key.contentKey
    if (options.announcedSize === "require") requireAnnouncedSize(object, envelope, request.announced)
    checkSize(object, envelope, request.announced)
    const moved = await move(request, options, found, key, held, signal)
    const record = createRecord({
      archive: request,
      source: object,
      envelope,
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
    await during(observe, "removing what was uploaded", () =>
      isKept(error, checkpoint)
        ? discardUnnoted(held, checkpoint)
        : discardRun(request.destination, held.writer, checkpoint),
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

interface Moved extends TransferResult, Pick<Found, "ours" | "create"> {
  /** Hex, of what was wanted. */
  readonly sha256: { readonly plaintext?: string; readonly ciphertext?: string }
  /** Bytes. */
  readonly plaintextSize: number
  readonly tail: Tail
}

/** Every byte from the source to the destination, none of it visible yet. */
async function move(
  { destination, destinationKey, announced }: ArchiveRequest,
  options: DecryptOptions,
  found: Found,
  key: UnlockedKey,
  held: Held,
  signal: AbortSignal,
): Promise<Moved> {
  const { archive, checkpoint } = found
  const { object } = archive
  const { contentKey, prover } = key
  const { envelope } = contentKey
  const observe = options.observe ?? {}
  const readEnd = () =>
    during(observe, "reading the last block", () => decryptEnd(archive, contentKey, signal))
  const wholeSize = plaintextSizeOf(envelope, object.size)
  const isDoubtful = options.announcedSize === "require" && needsPadding(object.size, envelope, announced)
  const end = options.tail === "trim" || isDoubtful ? await readEnd() : undefined
  if (end && isDoubtful) requireAnnouncedSize(object, envelope, announced, readTail(wholeSize, end).padding)
  const plaintextSize = end ? keptSize(wholeSize, readTail(wholeSize, end), options.tail) : wholeSize
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
        resumeUpload(destination, work, checkpoint, create, key, signal),
      )
  if (resumed) Object.assign(held, { writer: resumed.writer, noted: true })
  const trusted: ReadonlyMap<number, PartReceipt> = resumed?.trusted ?? new Map()
  const partSize = resumed?.writer.partSize ?? destination.partSizeFor(plaintextSize)
  checkPartSize(object.size, partSize, options.budget)
  const plan = planParts(envelope, object.size, plaintextSize, partSize)
  const digest = options.digest === "sha256"
  // Of nothing but a padding that is trimmed there is no part, so no ciphertext to hash: no digest rather than that of nothing.
  const isHashable = plan.count > 0 || object.size === 0
  const plaintextDigest = digest ? createOrderedDigest("plaintext") : undefined
  const ciphertextDigest =
    digest && isHashable && announced?.sha256sum ? createOrderedDigest("ciphertext") : undefined
  const authenticator = envelope.createAuthenticator?.(contentKey)
  const consumers = [
    plaintextDigest,
    ciphertextDigest,
    authenticator && createOrderedAuthenticator(authenticator),
  ].filter((each) => each !== undefined)
  const keepCiphertext = consumers.some(({ needsCiphertext }) => needsCiphertext)
  const decrypt = (part: Part, memory: Uint8Array, abort: AbortSignal) =>
    decryptPart(archive, part, contentKey, keepCiphertext, memory, abort, observe.moved)

  const parts = { plan, decrypt, keepCiphertext, observe, budget: options.budget }

  // Before an upload begins, the first part proves the content key.
  if (plan.count > 0 && !trusted.has(1)) held.head = await decryptHead(parts, signal)
  archive.close()
  if (held.writer === undefined && ours === null) {
    await during(observe, "beginning the upload", async () => {
      const writer = await destination.create(destinationKey, plaintextSize, create, signal)
      held.writer = writer
      const { token, resumable, partSize } = writer
      if (resumable) await options.checkpoint?.begin({ ...work, token, partSize })
      held.noted = true
      if (resumable && options.startedBefore && options.checkpoint)
        await discardForgotten(destination, destinationKey, writer, options.checkpoint, signal)
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
      consumers,
      plaintextSize,
      writer,
      trusted,
      head,
      onWritten: keep,
    },
    signal,
  )
  const tail = readTail(wholeSize, end ?? transferred.end ?? (await readEnd()))
  const sha256 = {
    ...(plaintextDigest?.hex !== undefined && { plaintext: plaintextDigest.hex }),
    ...(ciphertextDigest?.hex !== undefined && { ciphertext: ciphertextDigest.hex }),
  }
  return { ...transferred, sha256, plaintextSize, tail, ours, create }
}
