import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto"
import { crc32 } from "node:zlib"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { aes256Cbc } from "./cbc.ts"
import { combineCrc32, formatCrc32 } from "./crc32.ts"
import { ENVELOPES } from "./envelopes.ts"
import { endOf, planParts } from "./part-plan.ts"
import { PART_UNIT, type Part, rangeSize } from "./parts.ts"

const contentKey = {
  envelope: aes256Cbc,
  key: new Uint8Array(randomBytes(32)),
  iv: new Uint8Array(randomBytes(16)),
}

function encrypt(plaintext: Uint8Array): Buffer {
  const cipher = createCipheriv("aes-256-cbc", contentKey.key, contentKey.iv).setAutoPadding(false)
  return Buffer.concat([cipher.update(plaintext), cipher.final()])
}

/** Decrypts `ciphertext` in pieces of `step` bytes. */
function decryptPart(ciphertext: Uint8Array, first: boolean, step: number): Buffer {
  const whole = { start: 0, end: ciphertext.length }
  const part: Part = { number: 1, plaintext: whole, ciphertext: whole, lead: first ? 0 : 16 }
  const decryptor = aes256Cbc.createDecryptor(contentKey, part)
  const into = Buffer.alloc(ciphertext.length)
  let end = 0
  for (let at = 0; at < ciphertext.length; at += step)
    end = decryptor.update(ciphertext.subarray(at, at + step), into, end)
  decryptor.final()
  return into.subarray(0, end)
}

describe("the parts of an archive", () => {
  it("cover every byte once, each read with its previous block", () => {
    const blocks = fc.integer({ min: 0, max: 3000 })
    fc.assert(
      fc.property(
        blocks,
        fc.integer({ min: 1, max: 700 }),
        fc.integer({ min: 0, max: 16 }),
        (total, size, padding) => {
          const ciphertextSize = total * 16
          const plaintextSize = Math.max(0, ciphertextSize - padding)
          const plan = planParts(aes256Cbc, ciphertextSize, plaintextSize, size * 16)
          let next = 0
          for (let number = 1; number <= plan.count; number++) {
            const part = plan.part(number)
            expect(part.plaintext.start).toBe(next)
            expect(part.ciphertext.start).toBe(number === 1 ? 0 : next - 16)
            expect(rangeSize(part.plaintext)).toBeGreaterThan(0)
            expect(rangeSize(part.plaintext)).toBeLessThanOrEqual(size * 16)
            next = part.plaintext.end
            if (number === plan.count) expect(part.ciphertext.end).toBe(ciphertextSize)
          }
          expect(next).toBe(plaintextSize)
        },
      ),
    )
  })

  it.each(ENVELOPES)("are whole blocks of every envelope, and whole packets", ({ blockSize }) => {
    expect(PART_UNIT % blockSize).toBe(0)
    expect(PART_UNIT % 188).toBe(0)
  })

  it("refuse an archive that is not whole blocks, saying by how much", () => {
    expect(() => planParts(aes256Cbc, 33, 33, 16)).toThrow(
      expect.objectContaining({
        code: "ERR_CIPHERTEXT_INVALID",
        message: expect.stringMatching(/33 bytes.*cut short, or is not encrypted/),
      }),
    )
  })

  it.each([0, -16, 15, 17, 1.5])("refuse a part size of %d", (partSize) => {
    expect(() => planParts(aes256Cbc, 32, 32, partSize)).toThrow(RangeError)
  })

  it("have an end that begins with a block and contains the longest padding, in any envelope", () => {
    const envelope = (trailer: number, longestPadding: number) => ({ ...aes256Cbc, trailer, longestPadding })
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 1, max: 40 }),
        (plaintextSize, trailer, longest) => {
          const size = plaintextSize + trailer
          const { number, plaintext, ciphertext, lead } = endOf(envelope(trailer, longest), size)
          expect(plaintext.start % 16).toBe(0)
          expect(plaintext.end).toBe(plaintextSize)
          expect(rangeSize(plaintext)).toBeGreaterThanOrEqual(Math.min(longest, plaintextSize))
          expect(rangeSize(plaintext)).toBeLessThan(longest + 16)
          expect(ciphertext).toEqual({ start: plaintext.start - lead, end: size })
          expect([number, lead]).toEqual(plaintext.start === 0 ? [1, 0] : [2, 16])
        },
      ),
    )
  })

  it("are refused outside 1 to n", () => {
    const plan = planParts(aes256Cbc, 64, 64, 32)
    for (const number of [0, 3, 1.5]) expect(() => plan.part(number)).toThrow(RangeError)
  })
})

describe("decryption of a part", () => {
  it("gives the same bytes as decrypting the whole, for any part size and any cut of the ciphertext", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 100 }),
        (blocks, partBlocks, step) => {
          const plaintext = randomBytes(blocks * 16)
          const ciphertext = encrypt(plaintext)
          const plan = planParts(aes256Cbc, ciphertext.length, ciphertext.length, partBlocks * 16)
          for (let number = plan.count; number >= 1; number--) {
            const part = plan.part(number)
            const piece = ciphertext.subarray(part.ciphertext.start, part.ciphertext.end)
            const expected = plaintext.subarray(part.plaintext.start, part.plaintext.end)
            expect(decryptPart(piece, number === 1, step).equals(expected)).toBe(true)
          }
        },
      ),
    )
  })

  it("leaves padding in place", () => {
    const padded = Buffer.concat([randomBytes(28), Buffer.alloc(4, 4)])
    expect(decryptPart(encrypt(padded), true, 7)).toEqual(padded)
  })

  it.each([1, 15, 17])("refuses %i bytes, which end inside a block", (size) => {
    expect(() => decryptPart(randomBytes(size), true, 16)).toThrow(
      expect.objectContaining({ code: "ERR_CIPHERTEXT_INVALID" }),
    )
  })

  it("refuses a later part that is shorter than its previous block", () => {
    expect(() => decryptPart(randomBytes(8), false, 8)).toThrow(
      expect.objectContaining({ code: "ERR_CIPHERTEXT_INVALID" }),
    )
  })

  it("agrees with a Node decipher over the whole", () => {
    const ciphertext = randomBytes(1600)
    const decipher = createDecipheriv("aes-256-cbc", contentKey.key, contentKey.iv).setAutoPadding(false)
    expect(decryptPart(ciphertext, true, 333)).toEqual(
      Buffer.concat([decipher.update(ciphertext), decipher.final()]),
    )
  })
})

describe("CRC-32", () => {
  it("of the whole follows from the parts'", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 500 }), { maxLength: 8 }), (parts) => {
        const combined = parts.reduce((crc, part) => combineCrc32(crc, crc32(part), part.length), 0)
        expect(combined).toBe(crc32(Buffer.concat(parts)))
      }),
    )
  })

  it("combines over pieces longer than 2^32 bytes", () => {
    // 5 GiB of zeros after a piece, once in one step and once in five.
    const first = crc32("archive")
    const gibOfZeros = [...Array(30)].reduce(
      (crc, _, n) => combineCrc32(crc, crc, 2 ** n),
      crc32(Uint8Array.of(0)),
    )
    const stepwise = [...Array(5)].reduce((crc) => combineCrc32(crc, gibOfZeros, 2 ** 30), first)
    const fiveGib = [...Array(4)].reduce((crc) => combineCrc32(crc, gibOfZeros, 2 ** 30), gibOfZeros)
    expect(combineCrc32(first, fiveGib, 5 * 2 ** 30)).toBe(stepwise)
  })

  it("is written with eight digits", () => expect(formatCrc32(0x1f)).toBe("0000001f"))
})
