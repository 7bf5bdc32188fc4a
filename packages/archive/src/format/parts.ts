import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"

/** Bytes from `start` up to, not including, `end`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** Bytes in an AES block (FIPS 197). */
export const BLOCK_SIZE = 16

/**
 * What the size of a part is a multiple of: 752 bytes, the least that is whole cipher blocks (16 bytes) and whole MPEG-TS packets
 * (188 bytes). So every part begins with a block and with a packet.
 */
export const PART_UNIT = 752

/** A piece of an archive that is read, decrypted, written and retried on its own. */
export interface Part {
  /** 1, 2, 3, … as the stores number them. */
  readonly number: number
  readonly plaintext: ByteRange
  /** What to read: the part's own bytes and, before them, the previous block, which is its IV (the first part has none). */
  readonly ciphertext: ByteRange
}

/** The parts of one archive, computed rather than stored: 40 GB in 5 MiB parts would be 8,000 objects. */
export interface PartPlan {
  readonly count: number
  part(number: number): Part
}

export const sizeOf = (range: ByteRange): number => range.end - range.start

/**
 * Plans the parts of an archive of `ciphertextSize` bytes of which `plaintextSize` are kept (fewer if a padding is trimmed).
 * `partSize` is the plaintext bytes of every part but the last: whole blocks, and whole packets too unless the upload was begun
 * by Unseal 0.1.0. An empty archive has no parts.
 */
export function planParts(ciphertextSize: number, plaintextSize: number, partSize: number): PartPlan {
  if (ciphertextSize % BLOCK_SIZE !== 0)
    throw new UnsealError(
      "ERR_CIPHERTEXT_INVALID",
      `the object of ${counted(ciphertextSize, "byte")} is not a whole number of 16-byte blocks: it was cut short, or is not encrypted`,
    )
  if (!Number.isSafeInteger(partSize) || partSize <= 0 || partSize % BLOCK_SIZE !== 0)
    throw new RangeError(`part size ${partSize} is not a positive multiple of ${BLOCK_SIZE}`)
  if (plaintextSize > ciphertextSize || ciphertextSize - plaintextSize > BLOCK_SIZE)
    throw new RangeError(
      `plaintext of ${plaintextSize} bytes does not fit ciphertext of ${ciphertextSize} bytes`,
    )

  const count = Math.ceil(plaintextSize / partSize)
  return {
    count,
    part(number) {
      if (!Number.isInteger(number) || number < 1 || number > count)
        throw new RangeError(`part ${number} of ${count}`)
      const start = (number - 1) * partSize
      const last = number === count
      return {
        number,
        plaintext: { start, end: last ? plaintextSize : start + partSize },
        ciphertext: {
          start: number === 1 ? 0 : start - BLOCK_SIZE,
          end: last ? ciphertextSize : start + partSize,
        },
      }
    },
  }
}
