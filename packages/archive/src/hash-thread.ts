/**
 * SHA-256 beside the event loop. It takes 0.5 s for a GiB, whatever is done around it, as long as everything else that is done
 * to an archive takes; and no API of Node's updates a hash on another thread. So one thread of the process does it for all
 * archives. What is to be hashed is copied for it (0.08 s for a GiB, with the messages): memory that both can see could not
 * be given back before the collector comes round. `npm run bench -- --chapter digests,small` prints what it is worth.
 */
import { Worker } from "node:worker_threads"

/** A SHA-256 that is computed piece by piece (FIPS 180-4). */
export interface ThreadHash {
  /** Resolves when `bytes` are not needed any more. The next call waits for that. Rejects if the thread has ended. */
  update(bytes: Uint8Array): Promise<void>
  /** In hex. Nothing may follow. Rejects if the thread has ended. */
  digest(): Promise<string>
  /** Gives up a hash that nobody wants any more; does nothing after `digest`. */
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

/** Enough that it is copied into one while another is hashed; smaller ones cost more messages. */
const SLOT_SIZE = 512 * 1024
const SLOTS = 16

type Answer = { readonly slot: number } | { readonly hash: number; readonly digest: string }

function startThread(onEnded: () => void): HashThread {
  const slots = new SharedArrayBuffer(SLOTS * SLOT_SIZE)
  const memory = new Uint8Array(slots)
  const worker = new Worker(new URL("./hash-thread.mjs", import.meta.url), {
    workerData: { slots, slotSize: SLOT_SIZE },
    // It needs next to nothing, and no secrets of the environment.
    resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 16, stackSizeMb: 1 },
    ...{ env: {}, execArgv: [], trackUnmanagedFds: false },
  })
  worker.unref()
  const free = Array.from({ length: SLOTS }, (_, slot) => slot)
  const waiting: (() => void)[] = []
  const digests = new Map<number, PromiseWithResolvers<string>>()
  let failure: Error | undefined
  let hashes = 0
  let unanswered = 0

  worker.on("message", (answer: Answer) => {
    if (--unanswered === 0) worker.unref()
    if ("slot" in answer) {
      free.push(answer.slot)
      waiting.shift()?.()
    } else {
      digests.get(answer.hash)?.resolve(answer.digest)
      digests.delete(answer.hash)
    }
  })
  worker.on("error", (cause) => fail(new Error("the thread that hashes has failed", { cause })))
  worker.on("exit", (code) => fail(new Error(`the thread that hashes has ended with ${code}`)))

  /** Whoever waits is told; the next hash gets another thread. */
  function fail(error: Error): void {
    if (failure !== undefined) return
    failure = error
    onEnded()
    for (const wake of waiting.splice(0)) wake()
    for (const digest of digests.values()) digest.reject(error)
  }

  /** Whoever waits for an answer keeps the process alive. */
  function send(message: { hash: number; slot?: number; length?: number; end?: true }): void {
    if (failure !== undefined) throw failure
    if (unanswered++ === 0) worker.ref()
    worker.postMessage(message)
  }

  async function freeSlot(): Promise<number> {
    while (failure === undefined) {
      const slot = free.pop()
      if (slot !== undefined) return slot
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
    throw failure
  }

  return {
    begin() {
      const hash = ++hashes
      let ended = false

      function end(): Promise<string> {
        ended = true
        const digest = Promise.withResolvers<string>()
        digests.set(hash, digest)
        send({ hash, end: true })
        return digest.promise
      }

      return {
        async update(bytes) {
          for (let at = 0; at < bytes.length; at += SLOT_SIZE) {
            const piece = bytes.subarray(at, at + SLOT_SIZE)
            const slot = await freeSlot()
            memory.set(piece, slot * SLOT_SIZE)
            send({ hash, slot, length: piece.length })
          }
        },
        digest: async () => end(),
        close() {
          if (!ended && failure === undefined) end().catch(() => {})
        },
      }
    },
  }
}
