import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"

/** S3's additional checksums. The server verifies all five (user guide, "Checking object integrity"). */
export type ChecksumAlgorithm = "CRC32" | "CRC32C" | "CRC64NVME" | "SHA1" | "SHA256"
/** For a multipart object: a checksum of the parts' checksums, or of the whole object (CRCs only, because they combine). */
export type ChecksumType = "COMPOSITE" | "FULL_OBJECT"

/** Takes bytes, gives a digest. */
interface RunningChecksum {
  update(chunk: Uint8Array): void
  digest(): Buffer
}

interface Algorithm {
  readonly bytes: number
  readonly start: () => RunningChecksum
  /** The reflected polynomial of a CRC. The values of adjacent ranges can be combined. */
  readonly polynomial?: bigint
}

const hashing = (name: string) => (): RunningChecksum => {
  const hash = createHash(name)
  return { update: (chunk) => void hash.update(chunk), digest: () => hash.digest() }
}

export const ALGORITHMS: Readonly<Record<ChecksumAlgorithm, Algorithm>> = {
  CRC32: { bytes: 4, start: runningCrc32, polynomial: 0xedb88320n },
  CRC32C: { bytes: 4, start: runningCrc32c, polynomial: 0x82f63b78n },
  CRC64NVME: { bytes: 8, start: runningCrc64, polynomial: 0x9a6c9329ac4bc9b5n },
  SHA1: { bytes: 20, start: hashing("sha1") },
  SHA256: { bytes: 32, start: hashing("sha256") },
}

export const isChecksumAlgorithm = (name: string): name is ChecksumAlgorithm =>
  Object.hasOwn(ALGORITHMS, name)
export const checksumHeader = (algorithm: ChecksumAlgorithm): string =>
  `x-amz-checksum-${algorithm.toLowerCase()}`

function fromUint32(value: number): Buffer {
  const digest = Buffer.alloc(4)
  digest.writeUInt32BE(value >>> 0)
  return digest
}

function runningCrc32(): RunningChecksum {
  let value = 0
  return {
    update(chunk) {
      value = crc32(chunk, value)
    },
    digest: () => fromUint32(value),
  }
}

/** The effect of one byte on the register, for each value of the byte. */
function byteTable(polynomial: bigint): readonly bigint[] {
  return Array.from({ length: 256 }, (_, byte) => {
    let register = BigInt(byte)
    for (let bit = 0; bit < 8; bit++)
      register = register & 1n ? (register >> 1n) ^ polynomial : register >> 1n
    return register
  })
}

const lowWords = (table: readonly bigint[]) => Int32Array.from(table, (row) => Number(BigInt.asIntN(32, row)))
const highWords = (table: readonly bigint[]) => lowWords(table.map((row) => row >> 32n))

const crc32cTable = lowWords(byteTable(0x82f63b78n))

function runningCrc32c(): RunningChecksum {
  let register = -1
  return {
    update(chunk) {
      let value = register
      for (let i = 0; i < chunk.length; i++) value = (value >>> 8) ^ crc32cTable[(value ^ chunk[i]!) & 0xff]!
      register = value
    },
    digest: () => fromUint32(~register),
  }
}

const crc64Table = byteTable(0x9a6c9329ac4bc9b5n)
const crc64Low = lowWords(crc64Table)
const crc64High = highWords(crc64Table)

/** Keeps the register in two halves: bit operations on numbers are many times faster than on BigInts. */
function runningCrc64(): RunningChecksum {
  let low = -1
  let high = -1
  return {
    update(chunk) {
      let l = low
      let h = high
      for (let i = 0; i < chunk.length; i++) {
        const row = (l ^ chunk[i]!) & 0xff
        l = ((l >>> 8) | (h << 24)) ^ crc64Low[row]!
        h = (h >>> 8) ^ crc64High[row]!
      }
      low = l
      high = h
    },
    digest: () => Buffer.concat([fromUint32(~high), fromUint32(~low)]),
  }
}

export interface PartChecksum {
  readonly size: number
  readonly checksum: Buffer
}

/** The checksum of an object made of `parts`, in S3's notation: base64, with the suffix `-N` if composite. */
export function objectChecksum(
  algorithm: ChecksumAlgorithm,
  type: ChecksumType,
  parts: readonly PartChecksum[],
): string {
  if (type === "FULL_OBJECT") return combineCrcs(algorithm, parts).toString("base64")
  const running = ALGORITHMS[algorithm].start()
  for (const part of parts) running.update(part.checksum)
  return `${running.digest().toString("base64")}-${parts.length}`
}

/** CRC(a ‖ b) = CRC(a) · x^(8·|b|) + CRC(b), over GF(2) modulo the polynomial (as zlib's crc32_combine). */
function combineCrcs(algorithm: ChecksumAlgorithm, parts: readonly PartChecksum[]): Buffer {
  const { polynomial, bytes } = ALGORITHMS[algorithm]
  if (polynomial === undefined) throw new RangeError(`${algorithm} does not combine`)
  const top = 1n << BigInt(bytes * 8 - 1)

  const multiply = (a: bigint, b: bigint): bigint => {
    let product = 0n
    for (let bit = top; bit > 0n; bit >>= 1n) {
      if (a & bit) product ^= b
      b = b & 1n ? (b >> 1n) ^ polynomial : b >> 1n
    }
    return product
  }
  const shifts = new Map<number, bigint>()
  const shift = (size: number): bigint => {
    let result = shifts.get(size)
    if (result === undefined) {
      result = top
      let power = top >> 1n
      for (let exponent = BigInt(size) * 8n; exponent > 0n; exponent >>= 1n) {
        if (exponent & 1n) result = multiply(result, power)
        power = multiply(power, power)
      }
      shifts.set(size, result)
    }
    return result
  }

  let combined = 0n
  for (const part of parts)
    combined = multiply(shift(part.size), combined) ^ BigInt(`0x${part.checksum.toString("hex")}`)
  return Buffer.from(combined.toString(16).padStart(bytes * 2, "0"), "hex")
}
