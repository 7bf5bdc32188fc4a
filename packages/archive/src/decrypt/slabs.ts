/** The memory that a budget lends (budget.ts). */
import { PART_UNIT } from "../format/parts.ts"

const MIB = 1024 * 1024
const SMALLEST_SLAB = 16 * 1024

/**
 * The bytes that rounding up to `PART_UNIT` may add to a part and to its ciphertext. Every slab has them in addition, uncharged:
 * otherwise a budget of eight times 5 MiB would hold only seven parts of 5 MiB and 64 bytes.
 */
const SPARE = 2 * PART_UNIT

/** The charged size: whole mebibytes, and powers of two below. There are few sizes, so that a returned slab fits the next part. */
export function slabSize(bytes: number): number {
  const charged = Math.max(1, bytes - SPARE)
  return charged > MIB
    ? Math.ceil(charged / MIB) * MIB
    : Math.max(SMALLEST_SLAB, 2 ** Math.ceil(Math.log2(charged)))
}

/** Slabs in use and in reserve, together within `limit` bytes plus each slab's `SPARE`. Requests displace slabs in reserve. */
export function createSlabs(limit: number) {
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
