/**
 * SHA-256 off the event loop. Hashing takes 0.5 s per GiB, as long as all other work on an archive together, and no API of
 * Node's updates a hash on another thread. So one thread per process hashes for all archives. Bytes are copied for it,
 * because shared memory could only be freed by the garbage collector. `npm run bench -- --chapter digests,small` prints the gain.
 */
import { Worker } from "node:worker_threads"
import { allEnded, untilAborted } from "../waiting.ts"
import { createSlotPool } from "./slot-pool.ts"

/** A SHA-256 computed piece by piece (FIPS 180-4). */
export interface ThreadHash {
  /** Resolves when `bytes` are free again; await it before the next call. Rejects if the thread ends, or with `signal.reason`. */
  update(bytes: Uint8Array, signal?: AbortSignal): Promise<void>
  /** The hex digest of all bytes, `last` included, which is in use until then. Nothing may follow. Rejects like `update`. */
  digest(last?: Uint8Array, signal?: AbortSignal): Promise<string>
  /** Abandons the hash, even while it takes bytes. Does nothing once the digest is there. */
  close(): void
}

/** Creates a hash. The first one starts the thread, which keeps no process alive. */
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

/** Smaller slots cost more messages, each of which may have to wake a thread. */
const SLOT_SIZE = 1024 * 1024
/**
 * Enough to keep the thread busy for one round of the event loop. With 2 MiB it mostly waited for more, and a large archive
 * took 1.5 times as long with its digest as without, instead of 1.26. Slots that no archive fills take no memory.
 */
const SLOTS = 8

/** A message to the thread: the slot to hash, if any, and whether its bytes are the last. */
interface Piece {
  readonly hash: number
  readonly slot?: number
  readonly length?: number
  readonly end: boolean
}

interface Reply {
  readonly slot?: number
  readonly hash?: number
  readonly digest?: string
}

function startThread(onEnded: () => void): HashThread {
  const buffer = new SharedArrayBuffer(SLOTS * SLOT_SIZE)
  const memory = new Uint8Array(buffer)
  const worker = new Worker(new URL("./hash-thread.mjs", import.meta.url), {
    workerData: { slots: buffer, slotSize: SLOT_SIZE },
    // It needs little memory, and nothing of the environment, which may hold secrets.
    resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 16, stackSizeMb: 1 },
    ...{ env: {}, execArgv: [], trackUnmanagedFds: false },
  })
  worker.unref()
  const slots = createSlotPool(SLOTS)
  const digests = new Map<number, PromiseWithResolvers<string>>()
  let failure: Error | undefined
  let hashes = 0
  let unanswered = 0

  worker.on("message", ({ slot, hash, digest }: Reply) => {
    if (--unanswered === 0) worker.unref()
    if (slot !== undefined) slots.giveBack(slot)
    if (hash !== undefined && digest !== undefined) {
      digests.get(hash)?.resolve(digest)
      digests.delete(hash)
    }
  })
  worker.on("error", (cause) => fail(new Error("the hashing thread failed", { cause })))
  worker.on("exit", (code) => fail(new Error(`the hashing thread ended with ${code}`)))

  /** Rejects everything that waits. The next hash starts another thread. */
  function fail(error: Error): void {
    if (failure !== undefined) return
    failure = error
    onEnded()
    slots.fail(error)
    for (const digest of digests.values()) digest.reject(error)
  }

  /** Sends a message. A pending answer keeps the process alive. */
  function send(piece: Piece): void {
    if (failure !== undefined) throw failure
    if (unanswered++ === 0) worker.ref()
    worker.postMessage(piece)
  }

  return {
    begin() {
      const hash = ++hashes
      /** Set once the thread was told that nothing follows. */
      let isOver = false

      /** Sends `bytes` piece by piece. Sends nothing if there are none, unless they are the last. */
      async function give(bytes: Uint8Array, isLast: boolean, signal?: AbortSignal): Promise<void> {
        let at = 0
        while (at < bytes.length) {
          await slots.use(signal, (slot) => {
            // After `close`, the bytes may already belong to another part.
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

          /** Closes the hash of a failed call: the thread never answers for bytes that were not all sent. */
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
