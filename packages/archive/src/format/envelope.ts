/**
 * How archives are encrypted. The first three bytes of a password select a row of the table in envelopes.ts. A row contains
 * everything that the rest of Unseal needs to know about the cipher.
 */
import type { Part } from "./parts.ts"

/** One of the numbers at the beginning of a password. */
export interface Code {
  readonly value: number
  /** Its name. A version has only its number. */
  readonly name?: string
}

/** A content-encryption key and its IV (RFC 5652, section 6.3; NIST SP 800-38A). Secret: wipe both with `wipe` after use. */
export interface ContentKey {
  /** The envelope that they belong to. */
  readonly envelope: Envelope
  /** `envelope.keySize` bytes. */
  readonly key: Uint8Array
  /** `envelope.ivSize` bytes. */
  readonly iv: Uint8Array
}

/** One way to encrypt an archive. Sizes are in bytes. */
export interface Envelope {
  readonly version: Code
  readonly algorithm: Code
  readonly mode: Code
  readonly keySize: number
  readonly ivSize: number
  /** Parts begin with a block, so it must divide `PART_UNIT`. */
  readonly blockSize: number
  /** How much ciphertext before a part's own is needed to decrypt it. The first part needs none. */
  readonly lead: number
  /** What follows the ciphertext in the object, such as an authentication tag. */
  readonly trailer: number
  /** The longest padding that a writer may have added. Decryption leaves it in place. 0 if none is ever added. */
  readonly longestPadding: number
  /** Why no object of `size` bytes, more than 0, is encrypted this way, as a clause; `null` if it may be. */
  whatIsWrongWith(size: number): string | null
  /** Decrypts `part` from `part.ciphertext`, which includes its lead and any trailer. */
  createDecryptor(contentKey: ContentKey, part: Part): PartDecryptor
  /** Verifies a whole archive. Absent if the envelope can't detect changes. */
  createAuthenticator?(contentKey: ContentKey): Authenticator
}

/** Decrypts one part. Holds back only an unfinished block. */
export interface PartDecryptor {
  /** Writes the plaintext of the blocks that `ciphertext` completes to `into`, from `at` on. Returns where it ends. */
  update(ciphertext: Uint8Array, into: Uint8Array, at: number): number
  /** Ends the part. Throws `ERR_CIPHERTEXT_INVALID` if an unfinished block is left over. */
  final(): void
  /**
   * Makes OpenSSL wipe its copy of the content key, which otherwise stays until garbage collection. Call it for abandoned parts,
   * too.
   */
  close(): void
}

/** Takes the object's bytes in order, trailer included. */
export interface Authenticator {
  update(ciphertext: Uint8Array): void
  /** Call it after the last byte. Throws `ERR_CIPHERTEXT_INVALID` if the archive was altered after encryption. */
  final(): void
  /** Like `PartDecryptor.close`. */
  close(): void
}

/** The size of the plaintext of an object of `size` bytes, padding included. */
export const plaintextSizeOf = ({ trailer }: Envelope, size: number): number => Math.max(0, size - trailer)
