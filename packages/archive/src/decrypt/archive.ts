/**
 * Decrypts an encrypted archive from one store into another, all or nothing.
 *
 * The order of the steps is the commit protocol (ARCHITECTURE.md, "Guarantees"): look at what is there, plan what to move, transfer
 * it, commit it. The first packets prove the content key before an upload begins. The upload is completed only after every byte is
 * accounted for and the caller has confirmed (`fence`) that this run still owns the job.
 */
import { plaintextSizeOf } from "../format/envelope.ts"
import { planParts } from "../format/part-plan.ts"
import type { Part, PartPlan } from "../format/parts.ts"
import { keptSize, readTail, type Tail } from "../format/tail.ts"
import { Held } from "../held.ts"
import { createOrderedAuthenticator, createOrderedDigest, needsCiphertext } from "../ordered/consumers.ts"
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
import type { UnlockedKey } from "./archive-key.ts"
import type { CheckpointUpload, PartReceipt, Work } from "./checkpoint.ts"
import { commit } from "./commit.ts"
import { type Found, look, replacing } from "./look.ts"
import { decryptEnd, decryptPart } from "./part.ts"
import { checkPartSize, decryptHead, type TransferResult, transferParts } from "./parts.ts"
import type { PinnedArchive } from "./pinned.ts"
import { namePlain } from "./plain.ts"
import { receiptFacts } from "./proof.ts"
import { type ArchiveRequest, type DecryptOptions, type RunOptions, withDefaults } from "./request.ts"
import { discardAfter, discardForgotten, type RunUpload, resumeUpload } from "./resume.ts"
import { during } from "./steps.ts"

export type { ArchiveRequest, DecryptOptions }

export interface DecryptResult {
  /** `already-committed`: an earlier run had done it · `empty`: nobody published in the session, and 0 bytes are right. */
  readonly outcome: "committed" | "already-committed" | "empty"
  readonly record: ArchiveRecord
}

/** What every step of a run uses. */
interface Run {
  readonly request: ArchiveRequest
  readonly options: RunOptions
  readonly signal: AbortSignal
  readonly startedAt: string
  readonly upload: RunUpload
  /** Released when the run has ended, however it ends. */
  readonly held: Held
}

/**
 * Decrypts one archive. Resolves when the object and its record are visible at the destination; otherwise throws, and nothing is
 * visible. Repeating it, even at the same time, is harmless. Throws an `UnsealError` of any code, or `signal.reason`.
 */
export async function decryptArchive(
  request: ArchiveRequest,
  given: DecryptOptions,
  signal: AbortSignal = new AbortController().signal,
): Promise<DecryptResult> {
  const options = withDefaults(given)
  using held = new Held()
  const run: Run = { request, options, signal, startedAt: new Date().toISOString(), upload: {}, held }
  const { observe, checkpoint } = options
  let archive: PinnedArchive | undefined
  try {
    const found = await during(observe, "looking at the source and the destination", () =>
      look(request, options, held, signal),
    )
    if ("record" in found) {
      await checkpoint?.clear()
      return { outcome: "already-committed", record: found.record }
    }
    archive = found.archive
    const plan = await planTransfer(run, found)
    const transferred = await transfer(run, plan)
    const record = await commitTransfer(run, plan, transferred)
    await checkpoint?.clear()
    return { outcome: archive.object.size === 0 ? "empty" : "committed", record }
  } catch (cause) {
    const error = await namePlain(cause, archive, signal)
    await during(observe, "removing what was uploaded", () =>
      discardAfter(error, request.destination, run.upload, checkpoint),
    )
    throw error
  }
}

/** What to move, and how much of it an earlier run has already moved. */
interface Plan extends Pick<Found, "archive" | "ours" | "create"> {
  readonly key: UnlockedKey
  /** Absent if it need not be known before the last part is there. */
  readonly tail: Tail | undefined
  readonly work: Work
  readonly parts: PartPlan
  readonly trusted: ReadonlyMap<number, PartReceipt>
}

/** Checks the source's size against its envelope and what was announced, and finds out what is left to do. */
async function planTransfer(run: Run, found: Found): Promise<Plan> {
  const { options, signal } = run
  const { destination, destinationKey, announced } = run.request
  const { archive, checkpoint } = found
  const { object } = archive
  const key = await during(options.observe, "unwrapping the key", () =>
    untilAborted(found.key.unlock(), signal),
  )
  const { envelope } = key.contentKey
  const isRequired = options.announcedSize === "require"
  if (isRequired) requireAnnouncedSize(object, envelope, announced)
  checkSize(object, envelope, announced)

  const isDoubtful = isRequired && needsPadding(object.size, envelope, announced)
  const tail = options.tail === "trim" || isDoubtful ? await decryptTail(run, archive, key) : undefined
  if (isDoubtful) requireAnnouncedSize(object, envelope, announced, tail?.padding)
  const wholeSize = plaintextSizeOf(envelope, object.size)
  const plaintextSize = tail ? keptSize(wholeSize, tail, options.tail) : wholeSize

  const ours = found.ours?.size === plaintextSize ? found.ours : null
  const create = found.ours === ours ? found.create : replacing(found.create)
  const { key: sourceKey, etag: sourceEtag, size: sourceSize } = object
  const work = { destinationKey, sourceKey, sourceEtag, sourceSize, plaintextSize }
  const resumed = ours
    ? null
    : await during(options.observe, "resuming the upload", () =>
        resumeUpload(destination, work, checkpoint, create, key, signal),
      )
  if (resumed) Object.assign(run.upload, { writer: resumed.writer, noted: true })
  const partSize = resumed?.writer.partSize ?? destination.partSizeFor(plaintextSize)
  checkPartSize(object.size, partSize, options.budget)
  const parts = planParts(envelope, object.size, plaintextSize, partSize)
  return { archive, key, tail, ours, create, work, parts, trusted: resumed?.trusted ?? new Map() }
}

interface Transferred extends TransferResult {
  readonly tail: Tail
  /** Hex; only the requested digests. */
  readonly sha256: { readonly plaintext: string | undefined; readonly ciphertext: string | undefined }
}

/** Moves every byte from the source to the destination, still invisible. */
async function transfer(run: Run, plan: Plan): Promise<Transferred> {
  const { request, options, signal, upload, held } = run
  const { archive, key, work, parts, trusted } = plan
  const { contentKey, prover } = key
  const { budget, checkpoint, observe = {} } = options
  const isHashed = options.digest === "sha256"
  // An archive of nothing but a trimmed padding has no parts, and so no ciphertext to hash. It gets no digest, rather than the
  // digest of nothing.
  const isWhole = parts.count > 0 || work.sourceSize === 0
  const isCompared = isHashed && isWhole && Boolean(request.announced?.sha256sum)
  const plaintext = isHashed ? createOrderedDigest("plaintext") : undefined
  const ciphertext = isCompared ? createOrderedDigest("ciphertext") : undefined
  const authenticator = createOrderedAuthenticator(contentKey)
  const consumers = [plaintext, ciphertext, authenticator].filter((each) => each !== undefined)
  for (const { close } of consumers) held.defer(close)
  const isKept = needsCiphertext(consumers)
  const decrypt = (part: Part, memory: Uint8Array, abort: AbortSignal) =>
    decryptPart(archive, part, contentKey, isKept, memory, abort, observe.moved)
  const decryption = { plan: parts, decrypt, consumers, budget, observe, held }

  // The first part proves the content key before an upload begins.
  const head = parts.count > 0 && !trusted.has(1) ? await decryptHead(decryption, signal) : undefined
  archive.close()
  if (upload.writer === undefined && plan.ours === null) await beginUpload(run, plan)
  const { writer } = upload
  async function onWritten(number: number, receipt: PartReceipt): Promise<void> {
    if (!writer?.resumable) return
    const proof = prover.prove(...receiptFacts(uploadOf(work, writer), number, receipt))
    await checkpoint?.part(number, { ...receipt, proof })
  }
  const { plaintextSize } = work
  const moved = await transferParts(
    { ...decryption, plaintextSize, writer, trusted, head, onWritten },
    signal,
  )
  const tail = plan.tail ?? (await decryptTail(run, archive, key, moved.end))
  return { ...moved, tail, sha256: { plaintext: plaintext?.hex, ciphertext: ciphertext?.hex } }
}

async function beginUpload({ request, options, signal, upload }: Run, { work, create }: Plan): Promise<void> {
  const { destination, destinationKey } = request
  const { checkpoint, startedBefore } = options
  await during(options.observe, "beginning the upload", async () => {
    const writer = await destination.create(destinationKey, work.plaintextSize, create, signal)
    upload.writer = writer
    if (writer.resumable) await checkpoint?.begin(uploadOf(work, writer))
    upload.noted = true
    if (writer.resumable && startedBefore && checkpoint)
      await discardForgotten(destination, destinationKey, writer, checkpoint, signal)
  })
}

const uploadOf = (work: Work, { token, partSize }: PartWriter): CheckpointUpload => ({
  ...work,
  token,
  partSize,
})

/** The tail of `archive`. `end` is the end of its plaintext, if that is known. */
async function decryptTail(
  { options, signal }: Run,
  archive: PinnedArchive,
  { contentKey }: UnlockedKey,
  end?: Uint8Array,
): Promise<Tail> {
  const read = () =>
    during(options.observe, "reading the last block", () => decryptEnd(archive, contentKey, signal))
  return readTail(plaintextSizeOf(contentKey.envelope, archive.object.size), end ?? (await read()))
}

/** Makes the transferred object visible, and then its record, if the archive passes the checks. */
async function commitTransfer(run: Run, plan: Plan, transferred: Transferred): Promise<ArchiveRecord> {
  const { request, options, signal } = run
  const { archive, key, work, ours, create } = plan
  const record = createRecord({
    archive: request,
    source: archive.object,
    envelope: key.contentKey.envelope,
    destination: { key: request.destinationKey, size: work.plaintextSize },
    transfer: transferred,
    keyId: key.keyId,
    tail: transferred.tail,
    announced: request.announced,
    attempts: options.attempt ?? 1,
    startedAt: run.startedAt,
  })
  checkDamage(record, options.maxDamage)
  if (options.announcedDigest === "require") checkAnnounced(record)
  const { writer } = run.upload
  const { receipts } = transferred
  const { destination } = request
  const { plaintextSize } = work
  const stored = await commit(
    { destination, writer, ours, receipts, plaintextSize, create, record, prover: key.prover },
    options,
    signal,
  )
  const committed = finishRecord(record, stored)
  if (options.record)
    await during(options.observe, "writing the record", () => writeRecord(destination, committed, signal))
  return committed
}
