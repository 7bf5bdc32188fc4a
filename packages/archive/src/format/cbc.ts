/** AES-256-CBC (NIST SP 800-38A, section 6.2) over any range of whole blocks: random access by taking the previous block as IV. */
import { createDecipheriv, type Decipheriv } from "node:crypto"
import { UnsealError } from "../errors.ts"
import { BLOCK_SIZE } from "./parts.ts"
import type { ContentKey } from "./password.ts"

/** Decrypts one part. Holds no plaintext back but an unfinished block. */
export interface PartDecryptor {
  /** The plaintext of the blocks that `ciphertext` completes; may be empty. */
  update(ciphertext: Uint8Array): Uint8Array
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
    update(ciphertext) {
      let rest = ciphertext
      if (decipher === undefined) {
        const taken = Math.min(BLOCK_SIZE - seen, rest.length)
        previousBlock.set(rest.subarray(0, taken), seen)
        seen += taken
        if (seen < BLOCK_SIZE) return new Uint8Array(0)
        decipher = open(contentKey.key, previousBlock)
        seen = 0
        rest = rest.subarray(taken)
      }
      seen += rest.length
      return rest.length === 0 ? new Uint8Array(0) : decipher.update(rest)
    },
    final() {
      if (decipher === undefined || seen % BLOCK_SIZE !== 0)
        throw new UnsealError(
          "ERR_CIPHERTEXT_INVALID",
          `part ends ${seen % BLOCK_SIZE} bytes into a 16-byte block`,
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
