/** From an archive's encrypted password to the key that its bytes were encrypted with. */
import { UnsealError } from "../errors.ts"
import { aes256Cbc } from "./cbc.ts"
import type { ContentKey } from "./envelope.ts"
import { explainNoMatch, type KeyRing } from "./key-ring.ts"
import { decodeEncryptedPassword, parsePassword, wipe } from "./password.ts"

export interface UnwrappedContentKey {
  /** Secret: wipe it after use. */
  readonly contentKey: ContentKey
  /** The id of the private key that unwrapped the password. Absent if none was needed. */
  readonly keyId?: string
}

/** For an archive without bytes, which has no secret and looks alike in any envelope. */
export const NO_CONTENT_KEY: ContentKey = {
  envelope: aes256Cbc,
  key: new Uint8Array(aes256Cbc.keySize),
  iv: new Uint8Array(aes256Cbc.ivSize),
}

/**
 * The content key in `encryptedPassword`, base64 as in the callback. Throws `ERR_PASSWORD_INVALID` if it is not base64 or does
 * not hold a content key, `ERR_NO_MATCHING_KEY` if no key of `keyRing` fits, and what the key ring throws.
 */
export async function unwrapContentKey(
  keyRing: KeyRing,
  encryptedPassword: string,
  signal: AbortSignal,
): Promise<UnwrappedContentKey> {
  const wrapped = decodeEncryptedPassword(encryptedPassword)
  const unwrapped = await keyRing.unwrap(wrapped, signal)
  if (unwrapped === null) throw new UnsealError("ERR_NO_MATCHING_KEY", explainNoMatch(keyRing, wrapped))
  try {
    return { contentKey: parsePassword(unwrapped.password), keyId: unwrapped.keyId }
  } finally {
    wipe(unwrapped.password)
  }
}
