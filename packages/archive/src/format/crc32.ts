/** CRC-32 (ISO 3309) of an archive from the CRC-32s of its parts, in whatever order they were decrypted. */

/** The generator polynomial, bit-reversed. */
const POLYNOMIAL = 0xedb88320

/** Product of two polynomials over GF(2) modulo the CRC's, bit-reversed as zlib's `multmodp` has them. */
function multiply(a: number, b: number): number {
  let product = 0
  let factor = b
  for (let bit = 0x80000000; bit !== 0; bit >>>= 1) {
    if (a & bit) product ^= factor
    factor = factor & 1 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1
  }
  return product >>> 0
}

/** The CRC-32 of two pieces, one behind the other. `secondSize` is the second's length in bytes. */
export function combineCrc32(first: number, second: number, secondSize: number): number {
  let shift = 0x80000000 // x^0
  let square = 0x00800000 // x^8: one zero byte
  for (let size = secondSize; size > 0; size = Math.floor(size / 2)) {
    if (size % 2 === 1) shift = multiply(square, shift)
    square = multiply(square, square)
  }
  return (multiply(shift, first) ^ second) >>> 0
}

/** Eight hex digits, as records and checksums show it. */
export const formatCrc32 = (crc32: number): string => crc32.toString(16).padStart(8, "0")
