import { PART_UNIT } from "../format/parts.ts"

/** Memory for one part, until it is given back. */
export interface PartMemory {
  /** As many bytes as were asked for, of any content. */
  readonly bytes: Uint8Array
  /** Gives the memory back: nobody may look at `bytes` any more. May be called again. */
  release(): void
  /** Gives back the right to the memory, but not the memory: somebody who can't be stopped may still be reading `bytes`. */
  forfeit(): void
}

/** The memory that all archives of a process share for the parts they hold. */
export interface ByteBudget {
  /** Waits for `bytes` of the budget; more than the whole of it is granted alone. Rejects with `signal.reason`. */
  acquire(bytes: number, signal: AbortSignal): Promise<PartMemory>
  /** Parts that hold memory now. */
  readonly holders: number
  /** Bytes of the whole. */
  readonly limit: number
}

interface Waiter {
  readonly bytes: number
  grant(): void
}

/**
 * A budget of `limit` bytes, granted strictly in the order of asking: an archive asks for one part at a time, so a large one
 * and many small ones take turns, and no part waits for a younger one. Memory is used again rather than given to the
 * collector, which would let it grow far beyond the limit before it came round.
 */
export function createByteBudget(limit: number): ByteBudget {
  const slabs = createSlabs(limit)
  let free = limit
  let holders = 0
  const waiting: Waiter[] = []

  function serve(): void {
    while (waiting[0] !== undefined && waiting[0].bytes <= free) waiting.shift()!.grant()
  }

  return {
    limit,
    get holders() {
      return holders
    },
    acquire(asked, signal) {
      // Whole slabs are charged, so what is held is what was granted.
      const bytes = Math.min(slabSize(asked), limit)
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason)
        const waiter: Waiter = {
          bytes,
          grant() {
            signal.removeEventListener("abort", giveUp)
            free -= bytes
            holders++
            // Taken with the first look: who only counts needs no memory.
            let slab: Uint8Array | undefined
            let held = true
            function end(use: (slab: Uint8Array) => void): void {
              if (!held) return
              held = false
              if (slab !== undefined) use(slab)
              free += bytes
              holders--
              serve()
            }
            resolve({
              get bytes() {
                if (!held) throw new RangeError("memory was given back already")
                slab ??= slabs.take(asked)
                return slab.subarray(0, asked)
              },
              release: () => end(slabs.put),
              forfeit: () => end(slabs.forget),
            })
          },
        }
        const giveUp = () => {
          waiting.splice(waiting.indexOf(waiter), 1)
          reject(signal.reason)
          serve()
        }
        signal.addEventListener("abort", giveUp, { once: true })
        waiting.push(waiter)
        serve()
      })
    },
  }
}

const MIB = 1024 * 1024
const SMALLEST_SLAB = 16 * 1024

/**
 * Bytes that rounding up to `PART_UNIT` may add to a part and to its ciphertext beside it. Every slab has them on top, and nobody
 * is charged for them: otherwise a budget of eight times 5 MiB would hold only seven parts of 5 MiB and 64 bytes.
 */
const SPARE = 2 * PART_UNIT

/** What is charged: whole mebibytes, and powers of two below. Few sizes, so that a slab that was given back fits the next part. */
function slabSize(bytes: number): number {
  const charged = Math.max(1, bytes - SPARE)
  return charged > MIB
    ? Math.ceil(charged / MIB) * MIB
    : Math.max(SMALLEST_SLAB, 2 ** Math.ceil(Math.log2(charged)))
}

/** Slabs in use and in reserve, together within `limit` bytes and a `SPARE` for each: what is in reserve gives way to what is asked for. */
function createSlabs(limit: number) {
  /** In the order in which they were given back. */
  const reserve: Uint8Array[] = []
  let total = 0

  function drop(index: number): void {
    const [slab] = reserve.splice(index, 1)
    total -= slab!.length - SPARE
    // At once, not when it is collected.
    ;(slab!.buffer as ArrayBuffer).transfer(0)
  }

  return {
    take(bytes: number): Uint8Array {
      const size = slabSize(bytes)
      const fitting = reserve.findLastIndex((slab) => slab.length === size + SPARE)
      if (fitting >= 0) return reserve.splice(fitting, 1)[0]!
      while (reserve.length > 0 && total + size > limit) drop(0)
      total += size
      return new Uint8Array(new ArrayBuffer(size + SPARE))
    },
    /** It is the collector's, as soon as whoever reads it lets go. */
    forget(slab: Uint8Array): void {
      total -= slab.length - SPARE
    },
    put(slab: Uint8Array): void {
      reserve.push(slab)
      if (total > limit) drop(reserve.length - 1)
    },
  }
}
