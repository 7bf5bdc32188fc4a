/**
 * The encrypted archive of all measurements. It repeats a pattern of 64 to 256 MiB, which the endpoint serves at any length. In
 * CBC, the plaintext of a block depends only on that block and the one before it. So every repetition but the first decrypts to
 * the same plaintext.
 */
import { spawn } from "node:child_process"
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  randomBytes,
  randomFillSync,
} from "node:crypto"
import { once } from "node:events"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { encodePassword, wrapPassword } from "@unseal/archive/format/password"
import { createCertificate } from "@unseal/simulator/recording/openssl"
import type { Endpoint } from "./endpoint.ts"

const PACKET = 188
const BLOCK = 16
/** Whole packets and whole blocks. */
const UNIT = PACKET * 4
const CHUNK = 1 << 20

/** The expected plaintext. */
export interface Digest {
  readonly size: number
  /** Hex. The endpoint computes it for every body. */
  readonly crc32c: string
  /** Hex. */
  readonly sha256: string
}

export interface Recording {
  readonly patternFile: string
  readonly keysDirectory: string
  readonly keyFile: string
  /** Hex, for the openssl command and the floor, which take no password. */
  readonly key: string
  readonly iv: string
  /** Base64. Encrypted anew each time, as for every real archive, so that no contender can cache it. */
  encryptedPassword(): string
  /** The ciphertext of an archive of `size` bytes, for contenders that read a file. */
  ciphertext(size: number): Readable
}

/** Makes the pattern (of about `patternBytes`), a content key, and a certificate with its private key, below `directory`. */
export async function createRecording(directory: string, patternBytes: number): Promise<Recording> {
  const [key, iv] = [randomBytes(32), randomBytes(16)]
  const pattern = encryptSeamlessly(plaintext(patternBytes - (patternBytes % UNIT)), key, iv)
  const patternFile = join(directory, "pattern")
  writeFileSync(patternFile, pattern)

  const keysDirectory = join(directory, "keys")
  mkdirSync(keysDirectory)
  const keyFile = join(keysDirectory, "key.pem")
  const certificateFile = join(directory, "cert.pem")
  await createCertificate({ certificateFile, keyFile })
  const publicKey = createPublicKey(readFileSync(certificateFile))
  const password = encodePassword({ key, iv })

  return {
    ...{ patternFile, keysDirectory, keyFile },
    key: key.toString("hex"),
    iv: iv.toString("hex"),
    encryptedPassword: () => wrapPassword(password, publicKey),
    ciphertext: (size) => Readable.from(repeat(pattern, size)),
  }
}

/** Packets with sync bytes and random content. */
function plaintext(size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size)
  for (let at = 0; at < size; at += CHUNK) randomFillSync(bytes, at, Math.min(CHUNK, size - at))
  for (let at = 0; at < size; at += PACKET) bytes[at] = 0x47
  return bytes
}

/** Encrypts in place. The pattern's first packet keeps its sync byte even where it follows the pattern's end. */
function encryptSeamlessly(bytes: Buffer, key: Buffer, iv: Buffer): Buffer {
  const body = bytes.subarray(0, -BLOCK)
  const cipher = createCipheriv("aes-256-cbc", key, iv).setAutoPadding(false)
  for (let at = 0; at < body.length; at += CHUNK) {
    const chunk = body.subarray(at, Math.min(at + CHUNK, body.length))
    cipher.update(chunk).copy(chunk)
  }
  const firstDecrypted = createDecipheriv("aes-256-ecb", key, null)
    .setAutoPadding(false)
    .update(bytes.subarray(0, BLOCK))
  const wanted = firstDecrypted[0]! ^ 0x47
  const last = bytes.subarray(-BLOCK)
  for (;;) {
    const previous = body.subarray(-BLOCK)
    const encrypted = createCipheriv("aes-256-cbc", key, previous).setAutoPadding(false).update(last)
    if (encrypted[0] === wanted) {
      encrypted.copy(last)
      return bytes
    }
    randomFillSync(last)
  }
}

function* repeat(pattern: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < size; ) {
    const offset = at % pattern.length
    const end = Math.min(offset + CHUNK, pattern.length, offset + size - at)
    yield pattern.subarray(offset, end)
    at += end - offset
  }
}

/** The digests of an archive of `size` bytes as the openssl command decrypts it. Every contender's output must have them. */
export async function digestByOpenssl(
  recording: Recording,
  endpoint: Endpoint,
  size: number,
): Promise<Digest> {
  const { key, iv } = recording
  const openssl = spawn("openssl", ["enc", "-d", "-aes-256-cbc", "-nopad", "-K", key, "-iv", iv], {
    stdio: ["pipe", "pipe", "inherit"],
  })
  const exit = once(openssl, "exit")
  const hash = createHash("sha256")
  async function* plaintext() {
    for await (const chunk of openssl.stdout as AsyncIterable<Buffer>) {
      hash.update(chunk)
      yield chunk
    }
  }
  const [{ crc32c }] = await Promise.all([
    endpoint.put(`reference/${size}`, size, plaintext()),
    pipeline(recording.ciphertext(size), openssl.stdin),
  ])
  const [code] = await exit
  if (code !== 0) throw new Error(`openssl ended with ${code}`)
  return { size, crc32c, sha256: hash.digest("hex") }
}
