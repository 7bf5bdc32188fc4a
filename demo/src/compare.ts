/** The customer's result without Unseal: openssl's decryption of the same archive, which must be equal byte for byte. */
import { createHash } from "node:crypto"
import { createReadStream, createWriteStream } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import type { ArchiveStore, StoredObject } from "@unseal/archive/store/contract"
import { copied } from "@unseal/archive/store/small-object"
import { decryptByOpenssl } from "@unseal/simulator/recording/openssl"
import type { RecordedArchive, System } from "@unseal/test/harness/system"
import type { KeyPair } from "./journey.ts"

const never = new AbortController().signal

export interface Comparison {
  /** Hex digest of openssl's output. */
  readonly expected: string
  /** Hex digest of the object at the destination. */
  readonly actual: string
}

/** Downloads the ciphertext, decrypts it with openssl, and hashes the result and the object at the destination. */
export async function compareWithOpenssl(
  system: System,
  archive: RecordedArchive,
  key: KeyPair = system,
): Promise<Comparison> {
  const directory = await mkdtemp(join(tmpdir(), "unseal-compare-"))
  try {
    const ciphertext = join(directory, "ciphertext")
    const plaintext = join(directory, "plaintext")
    await pipeline(await readAll(system.source, archive.key), createWriteStream(ciphertext))
    await decryptByOpenssl({
      encryptedPassword: archive.recording.encryptedPassword,
      keyFile: key.keyFile,
      ...(key.passphraseFile === undefined ? {} : { passphraseFile: key.passphraseFile }),
      source: ciphertext,
      destination: plaintext,
    })
    const expected = await sha256(createReadStream(plaintext))
    return { expected, actual: await sha256(await readAll(system.destination, archive.key)) }
  } finally {
    await rm(directory, { recursive: true })
  }
}

async function readAll(store: ArchiveStore, key: string): Promise<Readable> {
  const object: StoredObject | null = await store.stat(key, never)
  if (object === null) throw new Error(`${store.location} holds nothing under ${key}`)
  if (object.size === 0) return Readable.from([])
  return Readable.from(copied(store.read(object, { start: 0, end: object.size }, never)))
}

async function sha256(bytes: Readable): Promise<string> {
  const hash = createHash("sha256")
  for await (const chunk of bytes) hash.update(chunk)
  return hash.digest("hex")
}
