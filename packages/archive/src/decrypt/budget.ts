import { PART_UNIT } from "../format/parts.ts"

/** Memory for one part, until it is released. */
export interface PartMemory {
  /** The requested number of bytes, with arbitrary content. */
  readonly bytes: Uint8Array
  /** Gives the memory back: nobody may look at `bytes` any more. May be called repeatedly. */
  release(): void
  /** Gives back the share of the budget, but not the memory, which somebody who can't be stopped may still be reading. */
  forfeit(): void
}

/** The memory that all archives of a process share for their parts. */
export interface ByteBudget {
  /** Waits for `bytes` of the budget. More than the whole budget is granted alone. Rejects with `signal.reason`. */
  acquire(bytes: number, signal: AbortSignal): Promise<PartMemory>
  /** How many parts hold memory. */
  readonly holders: number
  /** The size of the whole budget in bytes. */
  readonly limit: number
}

/** A budget that tells how much of it is in use. */
export interface MeasuredBudget extends ByteBudget {
  /** Bytes that parts hold. */
  readonly used: number
  /** How many parts wait for memory. */
  readonly waiting: number
}

interface Waiter {
  readonly bytes: number
  grant(): void
}

/**
 * Creates a budget of `limit` bytes, granted strictly in the order of requests. An archive requests one part at a time, so a large
 * archive and many small ones take turns, and no part waits for a later request. Memory is reused instead of being left to the
 * garbage collector, which would let it grow far beyond the limit.
 */
export function createByteBudget(limit: number): MeasuredBudget {
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
    get used() {
      return limit - free
    },
    get waiting() {
      return waiting.length
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
            // Allocated at the first use: callers that only count need no memory.
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
 * The bytes that rounding up to `PART_UNIT` may add to a part and to its ciphertext. Every slab has them in addition, uncharged:
 * otherwise a budget of eight times 5 MiB would hold only seven parts of 5 MiB and 64 bytes.
 */
const SPARE = 2 * PART_UNIT

/** The charged size: whole mebibytes, and powers of two below. There are few sizes, so that a returned slab fits the next part. */
function slabSize(bytes: number): number {
  const charged = Math.max(1, bytes - SPARE)
  return charged > MIB
    ? Math.ceil(charged / MIB) * MIB
    : Math.max(SMALLEST_SLAB, 2 ** Math.ceil(Math.log2(charged)))
}

/** Slabs in use and in reserve, together within `limit` bytes plus each slab's `SPARE`. Requests displace slabs in reserve. */
function createSlabs(limit: number) {
  /** In the order in which they were given back. */
  const reserve: Uint8Array[] = []
  let total = 0

  function drop(index: number): void {
    const [slab] = reserve.splice(index, 1)
    total -= slab!.length - SPARE
    // Frees the memory at once, without waiting for garbage collection.
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
    /** Leaves the slab to garbage collection, once its last reader lets go. */
    forget(slab: Uint8Array): void {
      total -= slab.length - SPARE
    },
    put(slab: Uint8Array): void {
      reserve.push(slab)
      if (total > limit) drop(reserve.length - 1)
    },
  }
}
