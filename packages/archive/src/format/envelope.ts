/**
 * What archives are encrypted in. The first three bytes of a password name a row of the table in envelopes.ts; a row says
 * everything that the rest of Unseal asks about the cipher.
 */
import type { Part } from "./parts.ts"

/** One of the numbers in front of a password. */
export interface Code {
  readonly value: number
  /** What it stands for; a version is its number alone. */
  readonly name?: string
}

/** A content-encryption key and its IV (RFC 5652, section 6.3; NIST SP 800-38A). Secret: wipe both with `wipe` after use. */
export interface ContentKey {
  /** What they are for. */
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
  /** Parts begin with a block, so it divides `PART_UNIT`. */
  readonly blockSize: number
  /** Ciphertext before a part's own that decrypting it takes. The first part needs none. */
  readonly lead: number
  /** What follows the ciphertext in the object, such as an authentication tag. */
  readonly trailer: number
  /** The longest padding that a writer may have added. Decryption leaves it in place; 0 if none is ever added. */
  readonly longestPadding: number
  /** Why no object of `size` bytes, more than 0, is encrypted this way, as a clause; `null` if it may be. */
  whatIsWrongWith(size: number): string | null
  /** Decrypts `part` from `part.ciphertext`, its lead and any trailer included. */
  createDecryptor(contentKey: ContentKey, part: Part): PartDecryptor
  /** Checks all of an archive; absent if nothing in it tells whether it was changed. */
  createAuthenticator?(contentKey: ContentKey): Authenticator
}

/** Decrypts one part. Holds no plaintext back but an unfinished block. */
export interface PartDecryptor {
  /** Writes the plaintext of the blocks that `ciphertext` completes to `into`, from `at` on; gives where it ends. */
  update(ciphertext: Uint8Array, into: Uint8Array, at: number): number
  /** Ends the part. `ERR_CIPHERTEXT_INVALID` if an unfinished block is left over. */
  final(): void
  /** Has OpenSSL wipe its copy of the content key, also of a part that was given up: else it stays until it is collected. */
  close(): void
}

/** Takes the object's bytes in order, trailer included. */
export interface Authenticator {
  update(ciphertext: Uint8Array): void
  /** After the last byte. `ERR_CIPHERTEXT_INVALID` if the archive is not what was encrypted. */
  final(): void
  /** As `PartDecryptor.close`. */
  close(): void
}

/** Bytes that an object of `size` bytes decrypts to, padding included. */
export const plaintextSizeOf = ({ trailer }: Envelope, size: number): number => Math.max(0, size - trailer)
