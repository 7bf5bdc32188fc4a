/** How an archive divides into parts. */
import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"
import { type Envelope, plaintextSizeOf } from "./envelope.ts"
import type { Part, PartPlan } from "./parts.ts"

/**
 * Plans the parts of an object of `size` bytes. `keptSize` bytes of its plaintext are kept, fewer than all if a padding is
 * trimmed. `partSize` is the plaintext size of every part but the last: whole blocks and, unless Unseal 0.1.0 began the upload,
 * whole packets. An empty archive has no parts. Throws `ERR_CIPHERTEXT_INVALID` if `size` does not fit the envelope.
 */
export function planParts(envelope: Envelope, size: number, keptSize: number, partSize: number): PartPlan {
  checkFits(envelope, size, "the object")
  if (!isPartSize(envelope, partSize))
    throw new RangeError(`part size ${partSize} is not a positive multiple of ${envelope.blockSize}`)
  const plaintextSize = plaintextSizeOf(envelope, size)
  if (keptSize > plaintextSize || plaintextSize - keptSize > envelope.longestPadding)
    throw new RangeError(`plaintext of ${keptSize} bytes does not fit ciphertext of ${size} bytes`)

  const count = Math.ceil(keptSize / partSize)
  return {
    count,
    part(number) {
      if (!Number.isInteger(number) || number < 1 || number > count)
        throw new RangeError(`part ${number} of ${count}`)
      const start = (number - 1) * partSize
      const isLast = number === count
      return partOf(envelope, number, start, isLast ? keptSize : start + partSize, isLast ? size : undefined)
    },
  }
}

/** The last part of an object of `size` bytes, hardly larger than the longest padding that it can have. */
export function endOf(envelope: Envelope, size: number): Part {
  const plaintextSize = plaintextSizeOf(envelope, size)
  const before = Math.max(0, plaintextSize - envelope.longestPadding)
  const start = before - (before % envelope.blockSize)
  return partOf(envelope, start === 0 ? 1 : 2, start, plaintextSize, size)
}

/** Whether an archive in this envelope can be moved in parts of `partSize` bytes. */
export const isPartSize = ({ blockSize }: Envelope, partSize: number): boolean =>
  Number.isSafeInteger(partSize) && partSize > 0 && partSize % blockSize === 0

/** Throws `ERR_CIPHERTEXT_INVALID` unless an object of `size` bytes, called `name`, can be encrypted in this envelope. */
export function checkFits(envelope: Envelope, size: number, name: string): void {
  const wrong = size === 0 ? null : envelope.whatIsWrongWith(size)
  if (wrong !== null)
    throw new UnsealError("ERR_CIPHERTEXT_INVALID", `${name} of ${counted(size, "byte")} ${wrong}`)
}

/** The part with the plaintext from `start` to `end`. Its ciphertext ends there too, unless `ciphertextEnd` is given. */
function partOf({ lead }: Envelope, number: number, start: number, end: number, ciphertextEnd = end): Part {
  const before = start === 0 ? 0 : lead
  return {
    number,
    plaintext: { start, end },
    ciphertext: { start: start - before, end: ciphertextEnd },
    lead: before,
  }
}
