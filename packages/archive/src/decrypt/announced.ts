/** Compares what the callback said about an archive with the facts. The vendor does not say what its numbers refer to. */

import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"
import { type Envelope, plaintextSizeOf } from "../format/envelope.ts"
import { checkFits } from "../format/part-plan.ts"
import type { StoredObject } from "../store/contract.ts"

/** The callback's claims about an archive. */
export interface Announced {
  /** Bytes. */
  readonly size?: number
  /** Base64. The vendor does not say what it is the digest of. */
  readonly sha256sum?: string
}

/**
 * Whether `announced` is the size of an object of `size` bytes, or of its plaintext without `padding` bytes of padding, give or
 * take one block.
 */
export const fitsAnnounced = (
  announced: number,
  size: number,
  envelope: Envelope,
  padding: number,
): boolean =>
  announced <= size + envelope.blockSize &&
  announced >= plaintextSizeOf(envelope, size) - padding - envelope.blockSize

/**
 * Throws `ERR_OBJECT_INCOMPLETE` if `object` does not have the announced size. Pass the longest `padding` if it is not known
 * yet.
 */
export function requireAnnouncedSize(
  object: StoredObject,
  envelope: Envelope,
  { size: announced }: Announced = {},
  padding: number = envelope.longestPadding,
): void {
  if (announced === undefined || fitsAnnounced(announced, object.size, envelope, padding)) return
  throw new UnsealError(
    "ERR_OBJECT_INCOMPLETE",
    `${object.key} has ${counted(object.size, "byte")}, but the callback announced ${announced}`,
  )
}

/** Whether the padding must be known to tell if the announced size fits an object of `size` bytes. */
export const needsPadding = (
  size: number,
  envelope: Envelope,
  { size: announced }: Announced = {},
): boolean =>
  announced !== undefined &&
  fitsAnnounced(announced, size, envelope, envelope.longestPadding) &&
  !fitsAnnounced(announced, size, envelope, 0)

/** More than any store holds: Azure allows 50,000 blocks of 4000 MiB, S3 less. */
const LARGEST_OBJECT = 50_000 * 4000 * 2 ** 20

/** Throws `ERR_CIPHERTEXT_INVALID` for a size that no archive in this envelope can have. */
export function checkSize(
  object: StoredObject,
  envelope: Envelope,
  { size: announced }: Announced = {},
): void {
  if (object.size > LARGEST_OBJECT)
    throw new UnsealError(
      "ERR_CIPHERTEXT_INVALID",
      `${object.key} claims ${counted(object.size, "byte")}, which is more than any store holds (${LARGEST_OBJECT})`,
    )
  if (object.size === 0 && announced !== undefined && announced > 0)
    throw new UnsealError(
      "ERR_CIPHERTEXT_INVALID",
      `${object.key} is empty (0 bytes), but the callback announced ${counted(announced, "byte")}`,
    )
  checkFits(envelope, object.size, object.key)
}
