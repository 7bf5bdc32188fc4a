/**
 * SHA-256 beside the event loop. It takes 0.5 s for a GiB, whatever is done around it, as long as everything else that is done
 * to an archive takes; and no API of Node's updates a hash on another thread. So one thread of the process does it for all
 * archives. What is to be hashed is copied for it: memory that both can see could not be given back before the collector comes
 * round. `npm run bench -- --chapter digests,small` prints what it is worth.
 */
import { Worker } from "node:worker_threads"
import { allEnded, untilAborted } from "../waiting.ts"
import { createSlotPool } from "./slot-pool.ts"

/** A SHA-256 that is computed piece by piece (FIPS 180-4). */
export interface ThreadHash {
  /** Resolves when `bytes` are not needed any more. The next call waits for that. Rejects if the thread has ended, or with `signal.reason`. */
  update(bytes: Uint8Array, signal?: AbortSignal): Promise<void>
  /** In hex, of everything given before and of `last`, which is needed until then. Nothing may follow. Rejects as `update`. */
  digest(last?: Uint8Array, signal?: AbortSignal): Promise<string>
  /** Gives up a hash that nobody wants any more, also while it is given bytes; does nothing once it has its digest. */
  close(): void
}

/** A hash of nothing yet. The thread is started by the first, and keeps no process alive. */
export function createThreadHash(): ThreadHash {
  thread ??= startThread(() => {
    thread = undefined
  })
  return thread.begin()
}

let thread: HashThread | undefined

interface HashThread {
  begin(): ThreadHash
}

/** Smaller ones cost more messages, each of which may have to wake a thread. */
const SLOT_SIZE = 1024 * 1024
/**
 * As much as is hashed while the event loop comes round: with 2 MiB the thread mostly waited to be given more, and a large archive
 * took 1.5 times as long with its digest as without, instead of 1.26. What no archive fills takes no memory.
 */
const SLOTS = 8

/** What the thread is told: to hash the bytes in a slot, if there is one, and whether they are the last. */
interface Piece {
  readonly hash: number
  readonly slot?: number
  readonly length?: number
  readonly end: boolean
}

interface Answer {
  readonly slot?: number
  readonly hash?: number
  readonly digest?: string
}

function startThread(onEnded: () => void): HashThread {
  const buffer = new SharedArrayBuffer(SLOTS * SLOT_SIZE)
  const memory = new Uint8Array(buffer)
  const worker = new Worker(new URL("./hash-thread.mjs", import.meta.url), {
    workerData: { slots: buffer, slotSize: SLOT_SIZE },
    // It needs next to nothing, and no secrets of the environment.
    resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 16, stackSizeMb: 1 },
    ...{ env: {}, execArgv: [], trackUnmanagedFds: false },
  })
  worker.unref()
  const slots = createSlotPool(SLOTS)
  const digests = new Map<number, PromiseWithResolvers<string>>()
  let failure: Error | undefined
  let hashes = 0
  let unanswered = 0

  worker.on("message", ({ slot, hash, digest }: Answer) => {
    if (--unanswered === 0) worker.unref()
    if (slot !== undefined) slots.giveBack(slot)
    if (hash !== undefined && digest !== undefined) {
      digests.get(hash)?.resolve(digest)
      digests.delete(hash)
    }
  })
  worker.on("error", (cause) => fail(new Error("the hashing thread failed", { cause })))
  worker.on("exit", (code) => fail(new Error(`the hashing thread ended with ${code}`)))

  /** Whoever waits is told; the next hash gets another thread. */
  function fail(error: Error): void {
    if (failure !== undefined) return
    failure = error
    onEnded()
    slots.fail(error)
    for (const digest of digests.values()) digest.reject(error)
  }

  /** Whoever waits for an answer keeps the process alive. */
  function send(piece: Piece): void {
    if (failure !== undefined) throw failure
    if (unanswered++ === 0) worker.ref()
    worker.postMessage(piece)
  }

  return {
    begin() {
      const hash = ++hashes
      /** The thread has been told that there is no more. */
      let isOver = false

      /** Sends `bytes` piece by piece; nothing, if there are none and they are not the last. */
      async function give(bytes: Uint8Array, isLast: boolean, signal?: AbortSignal): Promise<void> {
        let at = 0
        while (at < bytes.length) {
          await slots.use(signal, (slot) => {
            // Given up meanwhile: the bytes may be another part's by now.
            if (isOver) return "done"
            const piece = bytes.subarray(at, at + SLOT_SIZE)
            memory.set(piece, slot * SLOT_SIZE)
            at += piece.length
            isOver = isLast && at === bytes.length
            send({ hash, slot, length: piece.length, end: isOver })
            return "sent"
          })
          if (isOver) return
        }
        if (isLast) end()
      }

      function end(): void {
        isOver = true
        send({ hash, end: true })
      }

      return {
        update: (bytes, signal) => give(bytes, false, signal),
        async digest(last = new Uint8Array(0), signal) {
          const digest = Promise.withResolvers<string>()
          digests.set(hash, digest)
          const answer = signal === undefined ? digest.promise : untilAborted(digest.promise, signal)
          const [, hex] = await allEnded([give(last, true, signal).catch(forget), answer])
          return hex

          /** What was not given whole is never answered. */
          function forget(error: unknown): never {
            digests.delete(hash)
            digest.reject(error)
            throw error
          }
        },
        close() {
          if (!isOver && failure === undefined) end()
        },
      }
    },
  }
}
