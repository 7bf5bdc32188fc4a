/**
 * The password of an encrypted archive: 51 bytes, version · algorithm · mode · key · IV, wrapped with RSA-OAEP under the
 * customer's certificate and sent as base64 in the archive-status callback ("Decrypting an archive" in the vendor's
 * OpenTok Encryption guide).
 */
import { constants, type KeyObject, publicEncrypt } from "node:crypto"
import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"

/** A content-encryption key and its IV (RFC 5652, section 6.3; NIST SP 800-38A). Secret: wipe it with `wipe` after use. */
export interface ContentKey {
  /** 32 bytes. */
  readonly key: Uint8Array
  /** 16 bytes. */
  readonly iv: Uint8Array
}

/** The hash of RSA-OAEP and of its mask generation function (RFC 8017, section 7.1). */
export type OaepHash = "sha1" | "sha256" | "sha384" | "sha512"

/** Bytes in an unwrapped password. */
export const PASSWORD_SIZE = 51
/** Bytes in front of the key: version, algorithm, mode. */
const HEADER = [
  { name: "version", value: 1, means: "1" },
  { name: "algorithm", value: 1, means: "1 (AES-256)" },
  { name: "mode", value: 1, means: "1 (CBC)" },
] as const
const KEY_END = HEADER.length + 32

/** Wrapped bytes of the smallest RSA modulus that OAEP with SHA-1 lets carry 51 bytes, and of the largest that openssl uses. */
const WRAPPED_SIZE = { min: 96, max: 2048 }

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

/**
 * The wrapped password's bytes from the callback's base64, white space ignored. `ERR_PASSWORD_INVALID` if it is not base64
 * (RFC 4648, section 4) or can't be the output of RSA. Messages give positions and lengths, never the text.
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
 * The content key in an unwrapped password, as copies. `ERR_PASSWORD_INVALID` if it is not 51 bytes or its header is not
 * 1, 1, 1: the vendor has changed the format, or the password is of another system.
 */
export function parsePassword(password: Uint8Array): ContentKey {
  if (password.length !== PASSWORD_SIZE)
    throw new UnsealError(
      "ERR_PASSWORD_INVALID",
      `unwrapped password is ${counted(password.length, "byte")}, not ${PASSWORD_SIZE}`,
    )
  for (const [index, field] of HEADER.entries())
    if (password[index] !== field.value)
      throw new UnsealError(
        "ERR_PASSWORD_INVALID",
        `password ${field.name} ${password[index]} is not supported, only ${field.means}`,
      )
  // Not `slice`, which on a Buffer is a view: the password is wiped, the content key lives on. And in a buffer made as such: a
  // small typed array begins inside V8's heap and moves out when OpenSSL uses it, which leaves a copy that nobody can wipe.
  const contentKey = new Uint8Array(new ArrayBuffer(PASSWORD_SIZE - HEADER.length))
  contentKey.set(password.subarray(HEADER.length))
  return {
    key: contentKey.subarray(0, KEY_END - HEADER.length),
    iv: contentKey.subarray(KEY_END - HEADER.length),
  }
}

/** The 51 bytes for a content key: the inverse of `parsePassword`. */
export function encodePassword({ key, iv }: ContentKey): Uint8Array {
  if (key.length !== 32 || iv.length !== 16)
    throw new RangeError(`content key of ${key.length} + ${iv.length} bytes, not 32 + 16`)
  return Uint8Array.from([...HEADER.map((field) => field.value), ...key, ...iv])
}

/** Wraps a password under the customer's public key (RSAES-OAEP, RFC 8017, section 7.1.1), as the vendor does; base64. */
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

/** Overwrites secret bytes; call it in `finally`. */
export function wipe(...secrets: (Uint8Array | undefined)[]): void {
  for (const secret of secrets) secret?.fill(0)
}
