/** What the callback said of an archive, compared with what is there. The vendor does not say of what its numbers are. */

import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"
import { BLOCK_SIZE } from "../format/parts.ts"
import type { StoredObject } from "../store/contract.ts"

/** The callback's claims about an archive. */
export interface Announced {
  /** Bytes. */
  readonly size?: number
  /** Base64; the vendor does not say of what. */
  readonly sha256sum?: string
}

/**
 * Whether `announced` bytes are the size of an object of `size` bytes, or of its plaintext without a padding of `padding`
 * bytes, give or take one block.
 */
export const fitsAnnounced = (announced: number, size: number, padding: number): boolean =>
  announced <= size + BLOCK_SIZE && announced >= size - padding - BLOCK_SIZE

/** `ERR_OBJECT_INCOMPLETE` if `object` does not have the size that was announced. A `padding` that is not known yet may be a block. */
export function requireAnnouncedSize(
  object: StoredObject,
  { size: announced }: Announced = {},
  padding: number = BLOCK_SIZE,
): void {
  if (announced === undefined || fitsAnnounced(announced, object.size, padding)) return
  throw new UnsealError(
    "ERR_OBJECT_INCOMPLETE",
    `${object.key} has ${counted(object.size, "byte")}, but the callback announced ${announced}`,
  )
}

/** Whether only the padding can tell if the announced size fits an object of `size` bytes. */
export const needsPadding = (size: number, { size: announced }: Announced = {}): boolean =>
  announced !== undefined && fitsAnnounced(announced, size, BLOCK_SIZE) && !fitsAnnounced(announced, size, 0)

/** More than any store holds: Azure takes 50,000 blocks of 4000 MiB, S3 less. */
const LARGEST_OBJECT = 50_000 * 4000 * 2 ** 20

/** `ERR_CIPHERTEXT_INVALID` for a size that no encrypted archive has. */
export function checkSize(object: StoredObject, { size: announced }: Announced = {}): void {
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
  if (object.size % BLOCK_SIZE !== 0)
    throw new UnsealError(
      "ERR_CIPHERTEXT_INVALID",
      `${object.key} of ${counted(object.size, "byte")} is not a whole number of 16-byte blocks: it was cut short, or is not encrypted`,
    )
}
