/** AES-256-CBC (NIST SP 800-38A, section 6.2) over any range of whole blocks. The previous block as IV gives random access. */
import { createDecipheriv, type Decipheriv } from "node:crypto"
import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"
import type { ContentKey, Envelope, PartDecryptor } from "./envelope.ts"
import type { Part } from "./parts.ts"

/** Bytes in an AES block (FIPS 197). */
export const BLOCK_SIZE = 16

/** The vendor's encryption of archives. It is not authenticated, so anyone who can write the object can change it unnoticed. */
export const aes256Cbc: Envelope = {
  version: { value: 1 },
  algorithm: { value: 1, name: "AES-256" },
  mode: { value: 1, name: "CBC" },
  keySize: 32,
  ivSize: BLOCK_SIZE,
  blockSize: BLOCK_SIZE,
  // The previous block, which is a part's IV.
  lead: BLOCK_SIZE,
  trailer: 0,
  longestPadding: BLOCK_SIZE,
  whatIsWrongWith: (size) =>
    size % BLOCK_SIZE === 0
      ? null
      : `is not a whole number of ${BLOCK_SIZE}-byte blocks: it was cut short, or is not encrypted`,
  createDecryptor,
}

/**
 * If a part has a lead, its first bytes are the previous block, which is the IV and gives no plaintext. Padding is never
 * interpreted: exactly what goes in comes out.
 */
function createDecryptor(contentKey: ContentKey, { lead }: Pick<Part, "lead">): PartDecryptor {
  let decipher: Decipheriv | undefined = lead === 0 ? open(contentKey.key, contentKey.iv) : undefined
  const previousBlock = new Uint8Array(BLOCK_SIZE)
  let seen = 0
  return {
    update(ciphertext, into, at) {
      let rest = ciphertext
      if (decipher === undefined) {
        const taken = Math.min(BLOCK_SIZE - seen, rest.length)
        previousBlock.set(rest.subarray(0, taken), seen)
        seen += taken
        if (seen < BLOCK_SIZE) return at
        decipher = open(contentKey.key, previousBlock)
        seen = 0
        rest = rest.subarray(taken)
      }
      seen += rest.length
      let end = at
      for (let start = 0; start < rest.length; start += SLICE_SIZE) {
        const plaintext = decipher.update(rest.subarray(start, start + SLICE_SIZE))
        into.set(plaintext, end)
        end += plaintext.length
        free(plaintext)
      }
      return end
    },
    final() {
      if (decipher === undefined || seen % BLOCK_SIZE !== 0)
        throw new UnsealError(
          "ERR_CIPHERTEXT_INVALID",
          `part ends ${counted(seen % BLOCK_SIZE, "byte")} into a ${BLOCK_SIZE}-byte block`,
        )
      decipher.final()
    },
    close() {
      try {
        decipher?.final()
      } catch {
        // It has already ended, or ended within a block. The cipher is freed all the same.
      }
    },
  }
}

function open(key: Uint8Array, iv: Uint8Array): Decipheriv {
  // Auto-padding would remove part of the archive's last packet, or act as a padding oracle.
  return createDecipheriv("aes-256-cbc", key, iv).setAutoPadding(false)
}

/** Small enough to stay in a core's cache until it has been copied. */
const SLICE_SIZE = 64 * 1024

/**
 * Frees a result of `Decipheriv.update` at once instead of at its garbage collection. The next result gets the same memory, which
 * is still in the cache, and a part never holds more than itself.
 */
function free(plaintext: Buffer): void {
  if (plaintext.buffer.byteLength === plaintext.byteLength) (plaintext.buffer as ArrayBuffer).transfer(0)
}
