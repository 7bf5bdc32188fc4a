/** How large parts are: one rule for all stores, within what each of them takes. */
import { UnsealError } from "../errors.ts"
import { PART_UNIT } from "../format/parts.ts"

/** What a kind of store takes as parts of one object. */
export interface PartLimits {
  /** For messages. */
  readonly store: string
  /** Bytes of every part but the last. */
  readonly smallest: number
  /** Bytes. */
  readonly largest: number
  /** Parts. */
  readonly most: number
}

/**
 * Bytes in every part but the last of a new object of `size` bytes: `preferred`, or what the store's limits ask for, rounded up
 * to a multiple of `PART_UNIT`. At the store's largest part it is rounded down instead. `ERR_CIPHERTEXT_INVALID` for an object that
 * would have too many parts even of that size.
 */
export function partSizeWithin(limits: PartLimits, size: number, preferred: number): number {
  const largest = Math.floor(limits.largest / PART_UNIT) * PART_UNIT
  if (size > limits.most * largest)
    throw new UnsealError(
      "ERR_CIPHERTEXT_INVALID",
      `an object of ${size} bytes is more than ${limits.store} holds: ${limits.most} parts of ${largest} bytes`,
    )
  const wanted = Math.max(preferred, limits.smallest, size / limits.most, 1)
  return Math.min(Math.ceil(wanted / PART_UNIT) * PART_UNIT, largest)
}
