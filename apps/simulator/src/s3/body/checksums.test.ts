import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { ALGORITHMS, type ChecksumAlgorithm, objectChecksum } from "./checksums.ts"

function checksumOf(algorithm: ChecksumAlgorithm, ...chunks: Uint8Array[]): Buffer {
  const running = ALGORITHMS[algorithm].start()
  for (const chunk of chunks) running.update(chunk)
  return running.digest()
}

describe("checksums", () => {
  // The check values of the CRC catalogue (reveng), and of FIPS 180 for "abc".
  it.each([
    ["CRC32", "123456789", "cbf43926"],
    ["CRC32C", "123456789", "e3069283"],
    ["CRC64NVME", "123456789", "ae8b14860a799888"],
    ["SHA1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"],
    ["SHA256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
  ] as const)("%s of %s is the catalogue's", (algorithm, text, hex) => {
    expect(checksumOf(algorithm, Buffer.from(text)).toString("hex")).toBe(hex)
  })

  it.each(Object.keys(ALGORITHMS) as ChecksumAlgorithm[])("%s does not depend on the chunks", (algorithm) => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
        expect(checksumOf(algorithm, a, b)).toEqual(checksumOf(algorithm, Buffer.concat([a, b])))
      }),
    )
  })

  it.each(["CRC32", "CRC32C", "CRC64NVME"] as const)("%s combines over parts of any size", (algorithm) => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 5 }), (parts) => {
        const whole = checksumOf(algorithm, Buffer.concat(parts))
        const checksums = parts.map((part) => ({ size: part.length, checksum: checksumOf(algorithm, part) }))
        expect(objectChecksum(algorithm, "FULL_OBJECT", checksums)).toBe(whole.toString("base64"))
      }),
    )
  })

  it("a composite checksum is a checksum of the parts' checksums, with their number", () => {
    const parts = ["one", "two"].map((text) => ({
      size: 3,
      checksum: checksumOf("SHA256", Buffer.from(text)),
    }))
    const joined = checksumOf("SHA256", ...parts.map((part) => part.checksum))
    expect(objectChecksum("SHA256", "COMPOSITE", parts)).toBe(`${joined.toString("base64")}-2`)
  })
})
