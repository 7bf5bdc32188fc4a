/**
 * One encrypted archive as the vendor makes it: a transport stream, encrypted with AES-256-CBC under a random key and IV,
 * which are in turn encrypted for the customer's certificate ("Decrypting an archive" in the OpenTok Encryption guide).
 */
import { createCipheriv, createHash, type KeyObject } from "node:crypto"
import { BLOCK_SIZE } from "@unseal/archive/format/cbc"
import {
  encodePassword,
  generateContentKey,
  type OaepHash,
  wipe,
  wrapPassword,
} from "@unseal/archive/format/password"
import { extendTransportStream } from "./media.ts"
import { PACKET_SIZE } from "./packet.ts"

/**
 * How the last block is filled, which the vendor doesn't document: a PKCS#7 padding (RFC 5652, section 6.3: 1 to 16 bytes),
 * zero bytes (none if the block is full), or nothing.
 */
export type Tail = "pkcs7" | "zero" | "none"

export interface RecordingOptions {
  /** The transport stream to repeat. */
  readonly sample: Uint8Array
  /** The public key of the customer's certificate. */
  readonly publicKey: KeyObject
  /** Bytes; see `exact`. 0 makes the archive of a session without publishers: an empty object, whatever the tail. */
  readonly size: number
  readonly tail: Tail
  /**
   * `false`: the recording is as many whole packets as fit into `size` bytes (at least one), plus its tail.
   * `true`: the object has exactly `size` bytes, a multiple of 16. The last packet is cut short if necessary.
   */
  readonly exact?: boolean
  readonly oaepHash?: OaepHash
}

/** SHA-256 in hex. */
export interface Digests {
  /** The digest of the transport stream with its tail, as `openssl enc -d -nopad` writes it. */
  readonly plaintext: string
  readonly ciphertext: string
}

export interface Recording {
  /** Bytes of the transport stream, without its tail. */
  readonly contentSize: number
  /** Bytes of the ciphertext. */
  readonly size: number
  /** The encrypted password as callbacks carry it, base64. Empty if the archive is not encrypted. */
  readonly encryptedPassword: string
  /** The object's bytes, made while they are read. Can be read once; chunks belong to the consumer. */
  readonly ciphertext: Iterable<Uint8Array>
  /** Throws `Error` until `ciphertext` has been read to its end. */
  digests(): Digests
}

/**
 * Makes an archive. No key outlives the call, except in the cipher's own memory, which scripts can't reach.
 * Throws `RangeError` for a size that is impossible with this tail.
 */
export function makeRecording(options: RecordingOptions): Recording {
  const { contentSize, fillerSize } = planSizes(options.size, options.tail, options.exact ?? false)
  const contentKey = generateContentKey()
  const { key, iv } = contentKey
  const password = encodePassword(contentKey)
  try {
    const encryptedPassword = wrapPassword(password, options.publicKey, options.oaepHash)
    // The filler is made here for every tail, so that the digest of the plaintext covers it.
    const cipher = createCipheriv("aes-256-cbc", key, iv).setAutoPadding(false)
    const hashes = { plaintext: createHash("sha256"), ciphertext: createHash("sha256") }
    let digests: Digests | undefined

    function* encrypt(): Generator<Uint8Array, void, undefined> {
      for (const chunk of plaintextOf(options.sample, contentSize, fillerSize, options.tail)) {
        hashes.plaintext.update(chunk)
        const encrypted = cipher.update(chunk)
        hashes.ciphertext.update(encrypted)
        if (encrypted.length > 0) yield encrypted
      }
      cipher.final()
      digests = {
        plaintext: hashes.plaintext.digest("hex"),
        ciphertext: hashes.ciphertext.digest("hex"),
      }
    }

    return {
      contentSize,
      size: contentSize + fillerSize,
      encryptedPassword,
      ciphertext: encrypt(),
      digests() {
        if (digests === undefined) throw new Error("the archive has not been read to its end")
        return digests
      },
    }
  } finally {
    wipe(key, iv, password)
  }
}

/** An archive of a project without a certificate: the bare transport stream, with an empty password. */
export function makePlainRecording({
  sample,
  size,
  exact = false,
}: Pick<RecordingOptions, "sample" | "size" | "exact">): Recording {
  if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`size ${size} is not a number of bytes`)
  const contentSize = exact || size === 0 ? size : Math.max(PACKET_SIZE, roundDown(size, PACKET_SIZE))
  const hash = createHash("sha256")
  let digest: string | undefined

  function* content(): Generator<Uint8Array, void, undefined> {
    for (const chunk of plaintextOf(sample, contentSize, 0, "none")) {
      hash.update(chunk)
      yield chunk
    }
    digest = hash.digest("hex")
  }

  return {
    contentSize,
    size: contentSize,
    encryptedPassword: "",
    ciphertext: content(),
    digests() {
      if (digest === undefined) throw new Error("the archive has not been read to its end")
      return { plaintext: digest, ciphertext: digest }
    },
  }
}

function* plaintextOf(sample: Uint8Array, contentSize: number, fillerSize: number, tail: Tail) {
  yield* extendTransportStream(sample, contentSize, { partialPacket: true })
  if (fillerSize > 0) yield new Uint8Array(fillerSize).fill(tail === "pkcs7" ? fillerSize : 0)
}

function planSizes(size: number, tail: Tail, exact: boolean): { contentSize: number; fillerSize: number } {
  if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`size ${size} is not a number of bytes`)
  if (exact && size % BLOCK_SIZE !== 0)
    throw new RangeError(`no archive is ${size} bytes: ciphertext is whole ${BLOCK_SIZE}-byte blocks`)
  if (size === 0) return { contentSize: 0, fillerSize: 0 }

  if (exact) {
    const { min, max } = FILLER[tail]
    const whole = roundDown(size - min, PACKET_SIZE)
    const contentSize = whole > 0 && whole >= size - max ? whole : size - min
    return { contentSize, fillerSize: size - contentSize }
  }
  // Without a tail, only every fourth packet ends on a block boundary.
  const unit = tail === "none" ? 4 * PACKET_SIZE : PACKET_SIZE
  const contentSize = Math.max(unit, roundDown(size, unit))
  const gap = (BLOCK_SIZE - (contentSize % BLOCK_SIZE)) % BLOCK_SIZE
  return { contentSize, fillerSize: gap === 0 && tail === "pkcs7" ? BLOCK_SIZE : gap }
}

/** How many bytes of filler each tail can have. */
const FILLER: Record<Tail, { min: number; max: number }> = {
  pkcs7: { min: 1, max: BLOCK_SIZE },
  zero: { min: 0, max: BLOCK_SIZE - 1 },
  none: { min: 0, max: 0 },
}

const roundDown = (size: number, unit: number): number => size - (size % unit)
