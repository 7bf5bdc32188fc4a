/** How large parts are: one rule for all stores, within the limits of each. */
import { UnsealError } from "../errors.ts"
import { PART_UNIT } from "../format/parts.ts"

/** A kind of store's limits on the parts of one object. */
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
 * The size of every part but the last, for a new object of `size` bytes: `preferred`, or what the store's limits require, rounded
 * up to a multiple of `PART_UNIT`, but down at the store's largest part. Throws `ERR_CIPHERTEXT_INVALID` for an object that
 * would have too many parts even of the largest size.
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
