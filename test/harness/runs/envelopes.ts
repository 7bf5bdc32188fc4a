/** Envelopes that no product has: one without padding, and one with an authentication tag. */

import { createCipheriv, createDecipheriv, type Decipheriv } from "node:crypto"
import { afterEach, beforeEach, expect } from "vitest"
import { UnsealError } from "../../../packages/archive/src/errors.ts"
import type {
  Authenticator,
  ContentKey,
  Envelope,
  PartDecryptor,
} from "../../../packages/archive/src/format/envelope.ts"
import { ENVELOPES } from "../../../packages/archive/src/format/envelopes.ts"
import { type Part, rangeSize } from "../../../packages/archive/src/format/parts.ts"

/** The counter block (NIST SP 800-38A, appendix B) that is `blocks` after `first`. */
function counterBlock(first: Uint8Array, blocks: number): Buffer {
  const counter = (BigInt(`0x${Buffer.from(first).toString("hex")}`) + BigInt(blocks)) % (1n << 128n)
  return Buffer.from(counter.toString(16).padStart(32, "0"), "hex")
}

/** Decrypts `part` with a key stream, but no more than its plaintext: a tag follows. */
function counterDecryptor(key: Uint8Array, first: Uint8Array, part: Part): PartDecryptor {
  const decipher = createDecipheriv("aes-256-ctr", key, counterBlock(first, part.plaintext.start / 16))
  let left = rangeSize(part.plaintext)
  return {
    update(ciphertext, into, at) {
      const own = ciphertext.subarray(0, left)
      left -= own.length
      into.set(decipher.update(own), at)
      return at + own.length
    },
    final() {
      if (left > 0) throw new UnsealError("ERR_CIPHERTEXT_INVALID", `the part lacks ${left} bytes`)
    },
    close: () => void decipher.final(),
  }
}

const common = {
  ...{ version: { value: 1 }, algorithm: { value: 1, name: "AES-256" } },
  ...{ keySize: 32, blockSize: 16, lead: 0, longestPadding: 0 },
}

export const aes256Ctr: Envelope = {
  ...common,
  ...{ mode: { value: 2, name: "CTR" }, ivSize: 16, trailer: 0 },
  whatIsWrongWith: () => null,
  createDecryptor: ({ key, iv }, part) => counterDecryptor(key, iv, part),
}

export const TAG_SIZE = 16
/** Each has a copy of its content key. */
const unclosed = new Set<Decipheriv>()
export const aes256Gcm: Envelope = {
  ...common,
  ...{ mode: { value: 3, name: "GCM" }, ivSize: 12, trailer: TAG_SIZE },
  whatIsWrongWith: (size) => (size > TAG_SIZE ? null : "is no more than an authentication tag"),
  // The first counter is the tag's own (NIST SP 800-38D, section 7.2).
  createDecryptor: ({ key, iv }, part) => counterDecryptor(key, Buffer.from([...iv, 0, 0, 0, 2]), part),
  createAuthenticator({ key, iv }): Authenticator {
    const decipher = createDecipheriv("aes-256-gcm", key, iv)
    unclosed.add(decipher)
    let tag = Buffer.alloc(0)
    return {
      update(ciphertext) {
        const bytes = Buffer.concat([tag, ciphertext])
        decipher.update(bytes.subarray(0, -TAG_SIZE))
        tag = bytes.subarray(-TAG_SIZE)
      },
      final() {
        try {
          decipher.setAuthTag(tag).final()
        } catch (cause) {
          throw new UnsealError("ERR_CIPHERTEXT_INVALID", "the authentication tag is another", { cause })
        }
      },
      close() {
        unclosed.delete(decipher)
        quietly(decipher)
      },
    }
  },
}

function quietly(decipher: Decipheriv): void {
  try {
    decipher.final()
  } catch {}
}

export function encrypt({ envelope, key, iv }: ContentKey, plaintext: Uint8Array): Buffer {
  if (envelope === aes256Gcm) {
    const cipher = createCipheriv("aes-256-gcm", key, iv)
    return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
  }
  return createCipheriv("aes-256-ctr", key, iv).update(plaintext)
}

/** The rows, in the table for the duration of a test. */
const table = ENVELOPES as Envelope[]
export const rows = [aes256Ctr, aes256Gcm]
beforeEach(() => void table.push(...rows))
afterEach(() => {
  table.splice(-rows.length)
  expect(unclosed.size).toBe(0)
})
