/** Transfers all parts of one archive in parallel, within the budget that all archives of the process share. */

import { UnsealError } from "../errors.ts"
import { combineCrc32 } from "../format/crc32.ts"
import { type Part, type PartPlan, rangeSize } from "../format/parts.ts"
import type { Held } from "../held.ts"
import { createOrderedConsumers, needsCiphertext, type OrderedConsumer } from "../ordered/consumers.ts"
import type { PartWriter } from "../store/contract.ts"
import { allEnded } from "../waiting.ts"
import type { ByteBudget, PartMemory } from "./budget.ts"
import type { PartReceipt } from "./checkpoint.ts"
import { type DecryptedPart, memoryOf } from "./part.ts"
import { during, type StepObserver } from "./steps.ts"

/** Called for every stage that a part passes, and for every step. */
export interface PartObserver extends StepObserver {
  part?(stage: "read" | "decrypt" | "write", seconds: number, bytes: number): void
  /** Bytes of plaintext accounted for, and their total. */
  progress?(done: number, total: number): void
}

/** A part that has its memory, and is being decrypted into it. */
export interface StartedPart {
  readonly part: Part
  readonly memory: PartMemory
  readonly decrypted: Promise<DecryptedPart>
}

/** What every part of an archive needs first. */
export interface Decryption {
  readonly plan: PartPlan
  readonly decrypt: (part: Part, memory: Uint8Array, signal: AbortSignal) => Promise<DecryptedPart>
  /** If there are any, trusted parts are read again for them. */
  readonly consumers: readonly OrderedConsumer[]
  readonly budget: ByteBudget
  readonly observe: PartObserver
  /** Receives what stays in use for longer than one part's transfer. */
  readonly held: Held
}

export interface Transfer extends Decryption {
  /** Bytes. */
  readonly plaintextSize: number
  /** Absent if the object is already at the destination and only its digests are needed. */
  readonly writer: PartWriter | undefined
  /** Parts that the destination already holds. */
  readonly trusted: ReadonlyMap<number, PartReceipt>
  /** Part 1, if it was started before the others. */
  readonly head: StartedPart | undefined
  /** Called after a part was written, before its memory is given back. */
  onWritten(number: number, receipt: PartReceipt): Promise<void>
}

export interface TransferResult {
  /** One for every part, 1 to n. */
  readonly receipts: ReadonlyMap<number, PartReceipt>
  readonly crc32: number
  readonly syncErrors: number
  /** The archive's last bytes. Absent if the last part was trusted and not read. */
  readonly end: Uint8Array | undefined
}

/** A part may be larger than a small budget. With 64 MiB, the 10,000 parts of S3 are 671 GB. */
const LARGEST_PART = 64 * 1024 * 1024

/**
 * Throws `ERR_CIPHERTEXT_INVALID` for an object whose claimed size would need parts that are too large for the available memory.
 * The size is the source's claim, and must not decide how much memory is used.
 */
export function checkPartSize(size: number, partSize: number, budget: Pick<ByteBudget, "limit">): void {
  const largest = Math.max(LARGEST_PART, budget.limit)
  if (partSize <= largest || size <= largest) return
  throw new UnsealError(
    "ERR_CIPHERTEXT_INVALID",
    `the source claims ${size} bytes, and the destination would take them in parts of ${partSize} bytes, which is more than the ${largest} bytes of memory for parts (UNSEAL_PARTS_IN_FLIGHT × UNSEAL_PART_SIZE_BYTES)`,
  )
}

/** Decrypts the first part alone, so that it can prove the content key before an upload begins. */
export async function decryptHead(decryption: Decryption, signal: AbortSignal): Promise<StartedPart> {
  const head = await startPart(decryption, 1, signal)
  decryption.held.defer(head.memory.release)
  await head.decrypted
  return head
}

/** Begins to decrypt part `number` as soon as there is memory for it, which other archives may hold. */
async function startPart(
  { plan, decrypt, consumers, budget, observe }: Decryption,
  number: number,
  signal: AbortSignal,
): Promise<StartedPart> {
  const part = plan.part(number)
  const bytes = memoryOf(part, needsCiphertext(consumers))
  const memory = await during(
    observe,
    "waiting for memory",
    () => budget.acquire(bytes, signal),
    "shared",
    number,
  )
  const decrypted = during(observe, "reading part", () => decrypt(part, memory.bytes, signal), "part", number)
  return { part, memory, decrypted }
}

/**
 * Moves every part that is not trusted. Reads trusted parts again only if a consumer needs their bytes. Parts start in order and
 * finish in any. The first failure stops the others, and nothing is in flight when this returns.
 */
export async function transferParts(transfer: Transfer, signal: AbortSignal): Promise<TransferResult> {
  const { plan, consumers, observe, writer } = transfer
  const failed = new AbortController()
  const running = AbortSignal.any([signal, failed.signal])
  const inOrder = createOrderedConsumers(consumers, plan.count)
  const receipts = new Map<number, PartReceipt>()
  const tasks: Promise<void>[] = []
  let end: Uint8Array | undefined
  let done = 0

  function recordReceipt(number: number, receipt: PartReceipt): void {
    receipts.set(number, receipt)
    done += receipt.size
    observe.progress?.(done, transfer.plaintextSize)
  }

  function stop(error: unknown): never {
    failed.abort(error)
    throw error
  }

  async function move({ part, memory, decrypted: decrypting }: StartedPart): Promise<void> {
    let giveBack = writer?.keepsBodies ? () => transfer.held.defer(memory.release) : memory.release
    try {
      const decrypted = await decrypting
      const size = decrypted.plaintext.length
      if (size !== rangeSize(part.plaintext))
        throw new RangeError(`part ${part.number} gave ${size} bytes, not ${rangeSize(part.plaintext)}`)
      observe.part?.("read", decrypted.readSeconds, rangeSize(part.ciphertext))
      observe.part?.("decrypt", decrypted.decryptSeconds, size)
      // Reported at once, so that the other ends soon. But the memory is in use until both have ended.
      const [receipt] = await allEnded([
        write(part, decrypted).catch((error) => {
          // An unresponsive store may go on reading it, unseen.
          giveBack = memory.forfeit
          return stop(error)
        }),
        during(
          observe,
          "hashing part",
          () => inOrder.take(part.number, decrypted, running),
          "once",
          part.number,
        ).catch(stop),
      ])
      if (part.number === plan.count) end = decrypted.end
      recordReceipt(part.number, receipt)
    } finally {
      giveBack()
    }
  }

  async function write(part: Part, decrypted: DecryptedPart): Promise<PartReceipt> {
    const { plaintext, crc32, syncErrors } = decrypted
    const size = plaintext.length
    const trusted = transfer.trusted.get(part.number)
    // The current result counts, not the kept one.
    if (trusted?.crc32 === crc32 && trusted.size === size) return { ...trusted, syncErrors }
    if (writer === undefined) return { size, crc32, syncErrors, tag: "" }
    const startedAt = performance.now()
    const written = await during(
      observe,
      "writing part",
      () => writer.writePart(part.number, [plaintext], crc32, running),
      "part",
      part.number,
    )
    observe.part?.("write", (performance.now() - startedAt) / 1000, size)
    const receipt = { size, crc32, syncErrors, tag: written.tag }
    await during(observe, "noting part", () => transfer.onWritten(part.number, receipt), "once", part.number)
    return receipt
  }

  try {
    for (let number = 1; number <= plan.count; number++) {
      const trusted = transfer.trusted.get(number)
      if (trusted !== undefined && consumers.length === 0) {
        recordReceipt(number, trusted)
        continue
      }
      const isStarted = number === 1 && transfer.head !== undefined
      const task = move(isStarted ? transfer.head : await startPart(transfer, number, running))
      task.catch((error) => failed.abort(error))
      tasks.push(task)
    }
    await Promise.all(tasks)
  } catch (error) {
    // `error` may be the reason of an abort. A failed part caused that abort, so the reason is that part's own error.
    await Promise.allSettled(tasks)
    throw failed.signal.aborted ? failed.signal.reason : error
  }

  await inOrder.end(signal)
  let crc32 = 0
  let syncErrors = 0
  for (let number = 1; number <= plan.count; number++) {
    const receipt = receipts.get(number)!
    crc32 = combineCrc32(crc32, receipt.crc32, receipt.size)
    syncErrors += receipt.syncErrors
  }
  return { receipts, crc32, syncErrors, end }
}
