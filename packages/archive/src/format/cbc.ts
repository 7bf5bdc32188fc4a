/** AES-256-CBC (NIST SP 800-38A, section 6.2) over any range of whole blocks: random access by taking the previous block as IV. */
import { createDecipheriv, type Decipheriv } from "node:crypto"
import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"
import { BLOCK_SIZE } from "./parts.ts"
import type { ContentKey } from "./password.ts"

/** Decrypts one part. Holds no plaintext back but an unfinished block. */
export interface PartDecryptor {
  /** Writes the plaintext of the blocks that `ciphertext` completes to `into`, from `at` on; gives where it ends. */
  update(ciphertext: Uint8Array, into: Uint8Array, at: number): number
  /** Ends the part. `ERR_CIPHERTEXT_INVALID` if an unfinished block is left over. */
  final(): void
  /** Has OpenSSL wipe its copy of the content key, also of a part that was given up: else it stays until it is collected. */
  close(): void
}

/**
 * Decrypts from the first block of an archive (`first`), or from a later one, in which case the first 16 bytes given are the
 * previous block: they are the IV and give no plaintext. Padding is never interpreted: exactly what goes in comes out.
 */
export function createPartDecryptor(contentKey: ContentKey, first: boolean): PartDecryptor {
  let decipher: Decipheriv | undefined = first ? open(contentKey.key, contentKey.iv) : undefined
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
          `part ends ${counted(seen % BLOCK_SIZE, "byte")} into a 16-byte block`,
        )
      decipher.final()
    },
    close() {
      try {
        decipher?.final()
      } catch {
        // Ended already, or within a block: the cipher is freed all the same.
      }
    },
  }
}

function open(key: Uint8Array, iv: Uint8Array): Decipheriv {
  // Auto-padding would swallow the archive's last packet or answer as a padding oracle.
  return createDecipheriv("aes-256-cbc", key, iv).setAutoPadding(false)
}

/** Small enough to stay in a core's cache until it has been copied. */
const SLICE_SIZE = 64 * 1024

/**
 * Gives a result of `Decipheriv.update` back at once rather than when it is collected: the next one gets the same memory, which
 * is in the cache still, and a part never holds more than itself.
 */
function free(plaintext: Buffer): void {
  if (plaintext.buffer.byteLength === plaintext.byteLength) (plaintext.buffer as ArrayBuffer).transfer(0)
}
