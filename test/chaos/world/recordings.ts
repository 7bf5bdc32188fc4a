/** Encrypted archives as the vendor makes them, together with everything that a checker needs. */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  type KeyObject,
  privateDecrypt,
  randomUUID,
} from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { encodePassword, wrapPassword } from "@unseal/archive/format/password"
import { createCertificate } from "@unseal/simulator/recording/openssl"
import { makeRecording, type Recording } from "@unseal/simulator/recording/recording"

const SAMPLE = resolve(import.meta.dirname, "../../../apps/simulator/media/composed-640x480-20s.mpegts")

const MIB = 1024 * 1024

/** The expected end of an archive. */
export type Expected =
  /** An output with one of these SHA-256 digests: several only if the object was replaced meanwhile. */
  | { readonly output: ReadonlySet<string> }
  /** A dead letter with this code, and no output. */
  | { readonly deadLetter: string }
  /** A job that has not started yet. */
  | "queued"

export interface Recorded {
  readonly archiveId: string
  /** Bytes. */
  readonly size: number
  readonly ciphertext: Buffer
  readonly encryptedPassword: string
  /** SHA-256 of the plaintext, hex. */
  readonly plaintext: string
}

export interface Studio {
  readonly privateKeyPem: Buffer
  record(size: number): Recorded
  /**
   * Like `record`, in whole mebibytes. Archives of one size share content and password, because making them is most of a test's
   * work.
   */
  recordLike(size: number): Recorded
  /** Made while it is read. Its digests are known at the end. */
  recordLarge(size: number): Recording
  /** Other content of the same size under the same password, to replace a source object with. */
  retake(archive: Recorded): Recorded
  /** The same archive with its password encrypted again, which makes another job. */
  rewrap(archive: Recorded): Recorded
  /** The 32 bytes of the content key and the 16 of the IV, to look for leaks. */
  secretsOf(encryptedPassword: string): { key: Buffer; iv: Buffer }
}

/** Creates a certificate, and the sample that every recording is made from. */
export async function openStudio(): Promise<Studio> {
  const directory = mkdtempSync(join(tmpdir(), "unseal-studio-"))
  try {
    const files = { certificateFile: join(directory, "cert.pem"), keyFile: join(directory, "key.pem") }
    await createCertificate(files)
    const [certificate, privateKeyPem, sample] = await Promise.all([
      readFile(files.certificateFile),
      readFile(files.keyFile),
      readFile(SAMPLE),
    ])
    return studioOf(createPublicKey(certificate), privateKeyPem, sample)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function studioOf(publicKey: KeyObject, privateKeyPem: Buffer, sample: Buffer): Studio {
  function secretsOf(encryptedPassword: string) {
    const password = privateDecrypt(
      { key: privateKeyPem, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha1" },
      Buffer.from(encryptedPassword, "base64"),
    )
    return { key: password.subarray(3, 35), iv: password.subarray(35, 51) }
  }

  const bySize = new Map<number, Recorded>()
  const studio: Studio = {
    privateKeyPem,
    secretsOf,
    recordLike(size) {
      const mebibytes = Math.max(1, Math.round(size / MIB))
      const master = bySize.get(mebibytes) ?? studio.record(mebibytes * MIB)
      bySize.set(mebibytes, master)
      return { ...master, archiveId: randomUUID() }
    },
    recordLarge: (size) => makeRecording({ sample, publicKey, size, tail: "pkcs7" }),
    record(size) {
      const recording = makeRecording({ sample, publicKey, size, tail: "pkcs7" })
      const ciphertext = Buffer.concat([...recording.ciphertext])
      return {
        archiveId: randomUUID(),
        size: ciphertext.length,
        ciphertext,
        encryptedPassword: recording.encryptedPassword,
        plaintext: recording.digests().plaintext,
      }
    },
    rewrap(archive) {
      const { key, iv } = secretsOf(archive.encryptedPassword)
      return { ...archive, encryptedPassword: wrapPassword(encodePassword({ key, iv }), publicKey) }
    },
    retake(archive) {
      const { key, iv } = secretsOf(archive.encryptedPassword)
      const decipher = createDecipheriv("aes-256-cbc", key, iv).setAutoPadding(false)
      const plaintext = Buffer.concat([decipher.update(archive.ciphertext), decipher.final()])
      // Changes one payload byte in every packet, so that no part of one take equals that of the other.
      for (let at = 150; at < plaintext.length; at += 188) plaintext[at]! ^= 0xff
      const cipher = createCipheriv("aes-256-cbc", key, iv).setAutoPadding(false)
      const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
      return { ...archive, ciphertext, plaintext: sha256(plaintext) }
    },
  }
  return studio
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
