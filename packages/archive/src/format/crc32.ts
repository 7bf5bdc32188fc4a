/** Computes an archive's CRC-32 (ISO 3309) from those of its parts, in whatever order they were decrypted. */

/** The generator polynomial, bit-reversed. */
const POLYNOMIAL = 0xedb88320

/** The product of two polynomials over GF(2) modulo the CRC's, bit-reversed as in zlib's `multmodp`. */
function multiply(a: number, b: number): number {
  let product = 0
  let factor = b
  for (let bit = 0x80000000; bit !== 0; bit >>>= 1) {
    if (a & bit) product ^= factor
    factor = factor & 1 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1
  }
  return product >>> 0
}

/** The CRC-32 of two consecutive pieces. `secondSize` is the second's length in bytes. */
export function combineCrc32(first: number, second: number, secondSize: number): number {
  let shift = 0x80000000 // x^0
  let square = 0x00800000 // x^8: one zero byte
  for (let size = secondSize; size > 0; size = Math.floor(size / 2)) {
    if (size % 2 === 1) shift = multiply(square, shift)
    square = multiply(square, square)
  }
  return (multiply(shift, first) ^ second) >>> 0
}

/** Eight hex digits, as in records and checksums. */
export const formatCrc32 = (crc32: number): string => (crc32 >>> 0).toString(16).padStart(8, "0")
