/** Checks of parts before they are written and before they are joined. */
import { crc32 } from "node:zlib"
import { UnsealError } from "../errors.ts"
import { formatCrc32 } from "../format/crc32.ts"
import type { WrittenPart } from "./contract.ts"

/** The CRC-32 of a body in pieces (ISO 3309, as `zlib.crc32`). */
export const crc32Of = (body: readonly Uint8Array[]): number =>
  body.reduce((sum, chunk) => crc32(chunk, sum), 0)

/** Bytes of a body in pieces. */
export const byteLengthOf = (body: readonly Uint8Array[]): number =>
  body.reduce((sum, chunk) => sum + chunk.length, 0)

/** The size of part `number` of an object of `size` bytes. Throws `RangeError` if the object has no such part. */
export function partBytes(number: number, size: number, partSize: number): number {
  const start = (number - 1) * partSize
  if (!Number.isInteger(number) || number < 1 || start >= size)
    throw new RangeError(`part ${number} of an object of ${size} bytes in parts of ${partSize}`)
  return Math.min(partSize, size - start)
}

/** Throws `RangeError` unless `body` has `expectedBytes` bytes. `label` names it, e.g. `part 2 of s3://bucket/key`. */
export function checkLength(body: readonly Uint8Array[], expectedBytes: number, label: string): void {
  const bytes = byteLengthOf(body)
  if (bytes !== expectedBytes) throw new RangeError(`${label} has ${bytes} bytes instead of ${expectedBytes}`)
}

/** Throws `ERR_STORE_UNAVAILABLE` unless `body` has the CRC-32 that its caller computed. For stores that can't verify it. */
export function checkCrc32(body: readonly Uint8Array[], expected: number, label: string): void {
  const actual = crc32Of(body)
  if (actual !== expected >>> 0)
    throw new UnsealError(
      "ERR_STORE_UNAVAILABLE",
      `${label} has the CRC-32 ${formatCrc32(actual)} instead of ${formatCrc32(expected)}: it was damaged before it was written`,
    )
}

/** Throws `RangeError` unless `parts` are 1 to n without a gap and add up to `size`: then the caller is at fault. */
export function checkParts(parts: ReadonlyMap<number, WrittenPart>, size: number, partSize: number): void {
  const count = Math.ceil(size / partSize)
  if (parts.size !== count)
    throw new RangeError(`${parts.size} parts given to complete an object of ${count} parts`)
  for (let number = 1; number <= count; number++) {
    const part = parts.get(number)
    const expected = partBytes(number, size, partSize)
    if (part?.size !== expected)
      throw new RangeError(
        `part ${number} of ${count} has ${part?.size ?? "no"} bytes instead of ${expected}, so the object is not whole`,
      )
  }
}
