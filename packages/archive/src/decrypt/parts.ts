/** All parts of one archive, in parallel within the budget that every archive of the process shares. */

import { UnsealError } from "../errors.ts"
import { combineCrc32 } from "../format/crc32.ts"
import { type Part, type PartPlan, sizeOf } from "../format/parts.ts"
import { createOrderedConsumers, type OrderedConsumer } from "../ordered/consumers.ts"
import type { PartWriter } from "../store/contract.ts"
import { allEnded } from "../waiting.ts"
import type { ByteBudget, PartMemory } from "./budget.ts"
import type { PartReceipt } from "./checkpoint.ts"
import { type DecryptedPart, memoryOf } from "./part.ts"
import { during, type StepObserver } from "./steps.ts"

/** Told of every part as it passes a stage, and of every step. */
export interface PartObserver extends StepObserver {
  part?(stage: "read" | "decrypt" | "write", seconds: number, bytes: number): void
  /** Bytes of plaintext accounted for, and of how many. */
  progress?(done: number, total: number): void
}

/** A part that was decrypted ahead of the others, in the memory it holds. */
export interface HeadPart {
  readonly decrypted: DecryptedPart
  readonly memory: PartMemory
}

export interface Transfer {
  readonly plan: PartPlan
  /** Bytes. */
  readonly plaintextSize: number
  readonly decrypt: (part: Part, memory: Uint8Array, signal: AbortSignal) => Promise<DecryptedPart>
  /** Absent if the object is at the destination already and only its digests are wanted. */
  readonly writer: PartWriter | undefined
  /** Parts that the destination holds already. */
  readonly trusted: ReadonlyMap<number, PartReceipt>
  readonly head: HeadPart | undefined
  /** If there are any, trusted parts are read again for them. */
  readonly consumers: readonly OrderedConsumer[]
  /** Whether one of them needs the ciphertext, which takes memory of its own. */
  readonly keepCiphertext: boolean
  readonly budget: ByteBudget
  readonly observe: PartObserver
  /** Called after a part was written, before its memory is given back. */
  onWritten(number: number, receipt: PartReceipt): Promise<void>
}

export interface TransferResult {
  /** Every part, 1 to n. */
  readonly receipts: ReadonlyMap<number, PartReceipt>
  readonly crc32: number
  readonly syncErrors: number
  /** The archive's last bytes; absent if the last part was not read because it was trusted. */
  readonly end: Uint8Array | undefined
}

/** A part may be larger than a small budget; with 64 MiB, the 10,000 parts of S3 are 671 GB. */
const LARGEST_PART = 64 * 1024 * 1024

/**
 * `ERR_CIPHERTEXT_INVALID` for an object of so many bytes that a part of it is out of proportion to the memory there is. Its size
 * is a claim of the source, and must not drive memory.
 */
export function checkPartSize(size: number, partSize: number, budget: Pick<ByteBudget, "limit">): void {
  const largest = Math.max(LARGEST_PART, budget.limit)
  if (partSize <= largest || size <= largest) return
  throw new UnsealError(
    "ERR_CIPHERTEXT_INVALID",
    `the source claims ${size} bytes, which the destination takes in parts of ${partSize} bytes: more than the ${largest} bytes of memory for parts (UNSEAL_PARTS_IN_FLIGHT × UNSEAL_PART_SIZE_BYTES)`,
  )
}

/** Decrypts the first part by itself, so that it can prove the content key before an upload begins. */
export async function decryptHead(
  {
    plan,
    decrypt,
    keepCiphertext,
    budget,
    observe,
  }: Pick<Transfer, "plan" | "decrypt" | "keepCiphertext" | "budget" | "observe">,
  signal: AbortSignal,
): Promise<HeadPart> {
  const part = plan.part(1)
  const memory = await memoryOfBudget(budget, memoryOf(part, keepCiphertext), observe, signal)
  try {
    const decrypted = await during(
      observe,
      "reading part 1",
      () => decrypt(part, memory.bytes, signal),
      "part",
    )
    return { decrypted, memory }
  } catch (error) {
    memory.release()
    throw error
  }
}

/**
 * Moves every part that is not trusted, and reads trusted ones again only if a consumer needs their bytes. Parts are started
 * in order and finish in any; the first failure stops the others, and nothing is in flight when this returns.
 */
export async function transferParts(transfer: Transfer, signal: AbortSignal): Promise<TransferResult> {
  const { plan, consumers, keepCiphertext, observe } = transfer
  const failed = new AbortController()
  const running = AbortSignal.any([signal, failed.signal])
  const inOrder = createOrderedConsumers(consumers, plan.count)
  const receipts = new Map<number, PartReceipt>()
  const tasks: Promise<void>[] = []
  let end: Uint8Array | undefined
  let done = 0

  function settle(number: number, receipt: PartReceipt): void {
    receipts.set(number, receipt)
    done += receipt.size
    observe.progress?.(done, transfer.plaintextSize)
  }

  function stop(error: unknown): never {
    failed.abort(error)
    throw error
  }

  /** `failedWrite` is called if a store that does not answer may go on reading the part's memory, unseen. */
  async function move(part: Part, memory: PartMemory, failedWrite: () => void): Promise<void> {
    const decrypted =
      part.number === 1 && transfer.head !== undefined
        ? transfer.head.decrypted
        : await during(
            observe,
            `reading part ${part.number}`,
            () => transfer.decrypt(part, memory.bytes, running),
            "part",
          )
    const size = decrypted.plaintext.length
    if (size !== sizeOf(part.plaintext))
      throw new RangeError(`part ${part.number} gave ${size} bytes, not ${sizeOf(part.plaintext)}`)
    observe.part?.("read", decrypted.readSeconds, sizeOf(part.ciphertext))
    observe.part?.("decrypt", decrypted.decryptSeconds, size)
    // Told at once, so that the other ends soon; but the memory is in use until both have ended.
    const [receipt] = await allEnded([
      write(part, decrypted).catch((error) => {
        failedWrite()
        return stop(error)
      }),
      during(observe, `hashing part ${part.number}`, () =>
        inOrder.take(part.number, decrypted, running),
      ).catch(stop),
    ])
    if (part.number === plan.count) end = decrypted.end
    settle(part.number, receipt)
  }

  async function moveIn(memory: PartMemory, part: Part): Promise<void> {
    let isForfeit = false
    try {
      await move(part, memory, () => (isForfeit = true))
    } finally {
      if (isForfeit) memory.forfeit()
      else memory.release()
    }
  }

  /** The part's memory, as soon as there is any. */
  async function memoryFor(part: Part): Promise<PartMemory> {
    if (part.number !== 1 || transfer.head === undefined)
      return memoryOfBudget(transfer.budget, memoryOf(part, keepCiphertext), observe, running)
    // The only part may be in memory until the upload is complete: its memory is the caller's to give back.
    return plan.count === 1 ? { ...transfer.head.memory, release() {} } : transfer.head.memory
  }

  async function write(part: Part, decrypted: DecryptedPart): Promise<PartReceipt> {
    const { plaintext, crc32, syncErrors } = decrypted
    const size = plaintext.length
    const trusted = transfer.trusted.get(part.number)
    // What was just found counts, not what was kept.
    if (trusted?.crc32 === crc32 && trusted.size === size) return { ...trusted, syncErrors }
    if (transfer.writer === undefined) return { size, crc32, syncErrors, tag: "" }
    const startedAt = performance.now()
    const { writer } = transfer
    const written = await during(
      observe,
      `writing part ${part.number}`,
      () => writer.writePart(part.number, [plaintext], crc32, running),
      "part",
    )
    observe.part?.("write", (performance.now() - startedAt) / 1000, size)
    const receipt = { size, crc32, syncErrors, tag: written.tag }
    await during(observe, `noting part ${part.number}`, () => transfer.onWritten(part.number, receipt))
    return receipt
  }

  try {
    for (let number = 1; number <= plan.count; number++) {
      const part = plan.part(number)
      const trusted = transfer.trusted.get(number)
      if (trusted !== undefined && consumers.length === 0) {
        settle(number, trusted)
        continue
      }
      const memory = await memoryFor(part)
      const task = moveIn(memory, part)
      task.catch((error) => failed.abort(error))
      tasks.push(task)
    }
    await Promise.all(tasks)
  } catch (error) {
    // `error` may be the reason of the abort that a failed part caused, which is that part's own error.
    await Promise.allSettled(tasks)
    inOrder.close()
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

/** Memory for a part, which other archives may hold. */
const memoryOfBudget = (budget: ByteBudget, bytes: number, observe: PartObserver, signal: AbortSignal) =>
  during(observe, "waiting for memory", () => budget.acquire(bytes, signal), "shared")
