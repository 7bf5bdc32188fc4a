/**
 * The password of an encrypted archive: version · algorithm · mode · key · IV, encrypted with RSA-OAEP for the customer's
 * certificate and sent as base64 in the archive-status callback ("Decrypting an archive" in the vendor's OpenTok Encryption
 * guide).
 */
import { constants, type KeyObject, publicEncrypt, randomBytes } from "node:crypto"
import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"
import { aes256Cbc } from "./cbc.ts"
import type { ContentKey, Envelope } from "./envelope.ts"
import { envelopeOf, HEADER, passwordSizeOf, passwordSizes, unknownEnvelope } from "./envelopes.ts"

/** The hash of RSA-OAEP and of its mask generation function (RFC 8017, section 7.1). */
export type OaepHash = "sha1" | "sha256" | "sha384" | "sha512"

/** The smallest RSA modulus, in bits, that fits every password: RSAES-OAEP with SHA-1 takes 42 bytes (RFC 8017, section 7.1.1). */
export const SMALLEST_MODULUS_BITS = 8 * (42 + Math.max(...passwordSizes()))

/** The size of RSA's output in bytes: from moduli of 768 bits, the first usual size that fits a password, to openssl's largest. */
const WRAPPED_SIZE = { min: 96, max: 2048 }

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

/**
 * The encrypted password's bytes from the callback's base64, ignoring white space. Throws `ERR_PASSWORD_INVALID` if it is not
 * base64 (RFC 4648, section 4) or can't be the output of RSA. Messages give positions and lengths, never the text.
 */
export function decodeEncryptedPassword(base64: string): Uint8Array {
  const text = base64.replace(/\s+/g, "")
  if (text === "") throw new UnsealError("ERR_PASSWORD_INVALID", "encrypted password is empty")
  if (!BASE64.test(text)) {
    const position = text.search(/[^A-Za-z0-9+/]/)
    throw new UnsealError(
      "ERR_PASSWORD_INVALID",
      `encrypted password is not base64: character ${position + 1} of ${text.length} is outside its alphabet`,
    )
  }
  if (text.length % 4 !== 0)
    throw new UnsealError(
      "ERR_PASSWORD_INVALID",
      `encrypted password is not base64: ${counted(text.length, "character is", "characters are")} not a multiple of 4, so it was cut short`,
    )
  const wrapped = Buffer.from(text, "base64")
  if (wrapped.length < WRAPPED_SIZE.min || wrapped.length > WRAPPED_SIZE.max)
    throw new UnsealError(
      "ERR_PASSWORD_INVALID",
      `encrypted password is ${counted(wrapped.length, "byte")}; RSA gives ${WRAPPED_SIZE.min} to ${WRAPPED_SIZE.max} (256 for a 2048-bit key)`,
    )
  return wrapped
}

/**
 * The content key in an unwrapped password, copied. Throws `ERR_PASSWORD_INVALID` if its header names an unknown envelope, or if
 * its size does not match the envelope: the vendor has changed the format, or the password belongs to another system.
 */
export function parsePassword(password: Uint8Array): ContentKey {
  checkSize(password, passwordSizes())
  const envelope = envelopeOf(password)
  checkSize(password, [passwordSizeOf(envelope)])
  // Not `slice`, which on a Buffer is a view: the password is wiped, but the content key lives on. And with its own ArrayBuffer: a
  // small typed array begins inside V8's heap and moves out when OpenSSL uses it, which leaves a copy that nobody can wipe.
  const contentKey = new Uint8Array(new ArrayBuffer(password.length - HEADER.length))
  contentKey.set(password.subarray(HEADER.length))
  const { keySize } = envelope
  return { envelope, key: contentKey.subarray(0, keySize), iv: contentKey.subarray(keySize) }
}

function checkSize(password: Uint8Array, sizes: readonly number[]): void {
  if (!sizes.includes(password.length))
    throw unknownEnvelope(
      `unwrapped password is ${counted(password.length, "byte")}, not ${sizes.join(" or ")}`,
    )
}

/** A new random content key. Default: for the vendor's envelope. */
export const generateContentKey = (envelope: Envelope = aes256Cbc): ContentKey => ({
  envelope,
  key: randomBytes(envelope.keySize),
  iv: randomBytes(envelope.ivSize),
})

/** The password for a content key, by default in the vendor's envelope. The inverse of `parsePassword`. */
export function encodePassword({
  envelope = aes256Cbc,
  key,
  iv,
}: Omit<ContentKey, "envelope"> & Partial<ContentKey>): Uint8Array {
  const { keySize, ivSize } = envelope
  if (key.length !== keySize || iv.length !== ivSize)
    throw new RangeError(`content key of ${key.length} + ${iv.length} bytes, not ${keySize} + ${ivSize}`)
  return Uint8Array.from([...HEADER.map((field) => envelope[field].value), ...key, ...iv])
}

/** Encrypts a password with the customer's public key (RSAES-OAEP, RFC 8017, section 7.1.1), as the vendor does; base64. */
export function wrapPassword(
  password: Uint8Array,
  publicKey: KeyObject,
  oaepHash: OaepHash = "sha1",
): string {
  return publicEncrypt(
    { key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash },
    password,
  ).toString("base64")
}

/** Overwrites secret bytes. Call it in `finally`. */
export function wipe(...secrets: (Uint8Array | undefined)[]): void {
  for (const secret of secrets) secret?.fill(0)
}
