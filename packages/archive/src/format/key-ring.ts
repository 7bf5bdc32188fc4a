/** Private keys, and unwrapping passwords with them. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, type webcrypto } from "node:crypto"
import { counted } from "../counted.ts"
import { UnsealError } from "../errors.ts"
import type { OaepHash } from "./password.ts"
import { utf8Of } from "./text.ts"

/** The public facts about a private key. */
export interface KeyDescription {
  /** SHA-256 of the public key (SPKI, DER), hex: the same for the key, its certificate and every copy of it. */
  readonly keyId: string
  /** Its origin for messages: a file name. */
  readonly name: string
  /** Bits of the RSA modulus. */
  readonly modulusBits: number
}

export interface PrivateKey extends KeyDescription {
  readonly key: KeyObject
}

export interface UnwrappedPassword {
  /** Secret: wipe it after use. */
  readonly password: Uint8Array
  readonly keyId: string
}

export interface KeyRing {
  /**
   * Unwraps a password (RSAES-OAEP, RFC 8017, section 7.1.2) with the first key that fits. `null` if none does. Throws only for
   * reasons outside the ciphertext: `ERR_KEY_SERVICE_UNAVAILABLE`.
   */
  unwrap(encryptedPassword: Uint8Array, signal: AbortSignal): Promise<UnwrappedPassword | null>
  /** The keys in the order in which they are tried. */
  describe(): readonly KeyDescription[]
}

/**
 * Reads a PEM private key: PKCS#8 or PKCS#1, with or without a passphrase (PKCS#8 as `openssl req -keyout` writes it, or legacy
 * `DEK-Info`). Throws `ERR_KEY_INVALID` if it is not an RSA private key, or if the passphrase is missing or wrong.
 */
export function parsePrivateKey(pem: Uint8Array, name: string, passphrase?: Uint8Array): PrivateKey {
  const utf8 = utf8Of(bufferOf(pem))
  const text = withLineBreaks(utf8)
  try {
    return privateKeyOf(text, name, passphrase)
  } finally {
    for (const copy of [utf8, text]) if (copy.buffer !== pem.buffer) copy.fill(0)
  }
}

function privateKeyOf(text: Buffer, name: string, passphrase?: Uint8Array): PrivateKey {
  const isProtected = text.includes("ENCRYPTED")
  if (!text.includes("PRIVATE KEY-----"))
    throw new UnsealError("ERR_KEY_INVALID", `${name} holds no PEM private key${whatInstead(text, name)}`)
  if (text.includes("BEGIN OPENSSH PRIVATE KEY"))
    throw new UnsealError(
      "ERR_KEY_INVALID",
      `${name} is in OpenSSH's own format: convert it with ssh-keygen -p -m PKCS8 -f ${name}`,
    )
  if (isProtected && (passphrase === undefined || passphrase.length === 0))
    throw new UnsealError("ERR_KEY_INVALID", `${name} is protected by a passphrase, but none was given`)

  let key: KeyObject
  try {
    key = createPrivateKey({ key: text, ...(isProtected ? { passphrase: bufferOf(passphrase!) } : {}) })
  } catch (cause) {
    throw new UnsealError(
      "ERR_KEY_INVALID",
      isProtected
        ? `${name} can't be opened: wrong passphrase (${counted(passphrase!.length, "byte")}), or a damaged file`
        : `${name} can't be read as a private key`,
      { cause },
    )
  }
  if (key.asymmetricKeyType !== "rsa")
    throw new UnsealError("ERR_KEY_INVALID", `${name} is a key of type ${key.asymmetricKeyType}, not rsa`)
  return { key, name, keyId: keyIdOf(key), modulusBits: key.asymmetricKeyDetails?.modulusLength ?? 0 }
}

/** What a file without a PEM private key seems to be, and how to convert it to one. */
function whatInstead(content: Buffer, name: string): string {
  if (content.includes("CERTIFICATE-----")) return ", only a certificate"
  // A SEQUENCE: with version 3 it is PKCS#12, with version 0 a key (PKCS#1, PKCS#8).
  if (content[0] !== 0x30) return ""
  const lengthBytes = content[1]! > 0x80 ? content[1]! - 0x80 : 0
  const version = content.subarray(2 + lengthBytes, 5 + lengthBytes).toString("hex")
  if (version === "020103")
    return `, but is a PKCS#12 file: convert it with openssl pkcs12 -in ${name} -nocerts -out NAME.pem`
  return `, but is a DER file: convert it with openssl pkey -inform DER -in ${name} -out NAME.pem`
}

/** Replaces line breaks written as \n, as often in environment variables, by real ones, in a copy. */
function withLineBreaks(pem: Buffer): Buffer {
  if (!pem.includes("-----\\n")) return pem
  const copy = Buffer.alloc(pem.length)
  let length = 0
  for (let at = 0; at < pem.length; at++) {
    const isBreak = pem[at] === 0x5c && (pem[at + 1] === 0x6e || pem[at + 1] === 0x72)
    copy[length++] = isBreak ? 0x0a : pem[at]!
    if (isBreak) at++
  }
  return copy.subarray(0, length)
}

/** The same bytes as a `Buffer`, not copied, because a copy of a secret is one more to wipe. */
const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** The id of a key pair: SHA-256 of the public key (SPKI, DER), hex. */
export function keyIdOf(key: KeyObject): string {
  const publicKey = key.type === "private" ? createPublicKey(key) : key
  return createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("hex")
}

/**
 * A ring of keys in memory, tried in the order given. Skips keys whose modulus has another length than the password. Unwrapping
 * runs off the event loop, which a key of 2048 bits would block for 0.3 ms, and one of 4096 bits for 2 ms.
 */
export function createKeyRing(keys: readonly PrivateKey[], oaepHash: OaepHash = "sha1"): KeyRing {
  const algorithm = { name: "RSA-OAEP", hash: WEB_NAMES[oaepHash] }
  const ring = keys.map((key) => ({ ...key, webKey: key.key.toCryptoKey(algorithm, false, ["decrypt"]) }))
  return {
    describe: () => keys,
    async unwrap(encryptedPassword) {
      for (const { webKey, keyId, modulusBits } of ring) {
        if (Math.ceil(modulusBits / 8) !== encryptedPassword.length) continue
        const password = await oaepDecrypt(webKey, encryptedPassword)
        if (password !== null) return { password, keyId }
      }
      return null
    },
  }
}

/** Web Crypto's spellings. */
const WEB_NAMES: Readonly<Record<OaepHash, string>> = {
  sha1: "SHA-1",
  sha256: "SHA-256",
  sha384: "SHA-384",
  sha512: "SHA-512",
}

/** `null` if it is not this key's. The reason why OAEP failed is not revealed: it would be Manger's oracle. */
async function oaepDecrypt(key: webcrypto.CryptoKey, encrypted: Uint8Array): Promise<Uint8Array | null> {
  try {
    return new Uint8Array(await crypto.subtle.decrypt("RSA-OAEP", key, encrypted as Uint8Array<ArrayBuffer>))
  } catch (error) {
    if (error instanceof DOMException && error.name === "OperationError") return null
    throw error
  }
}

/** Explains with numbers why no key of `ring` fits, for `ERR_NO_MATCHING_KEY`. */
export function explainNoMatch(ring: KeyRing, encryptedPassword: Uint8Array): string {
  const keys = ring.describe()
  if (keys.length === 0) return "the key ring is empty"
  const lengths = [...new Set(keys.map((key) => Math.ceil(key.modulusBits / 8)))].sort((a, b) => a - b)
  const tried = keys.length === 1 ? "the only key" : `none of ${keys.length} keys`
  return lengths.includes(encryptedPassword.length)
    ? `${tried} ${keys.length === 1 ? "does not unwrap" : "unwraps"} the password of ${counted(encryptedPassword.length, "byte")}`
    : `the encrypted password is ${counted(encryptedPassword.length, "byte")}; ${keys.length === 1 ? "the only key takes" : "the keys take"} ${lengths.join(", ")}`
}
