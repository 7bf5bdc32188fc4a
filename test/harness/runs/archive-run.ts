/** One archive between two directories: its source, its destination, and a request to decrypt it. */

import { createCipheriv, generateKeyPairSync, randomBytes } from "node:crypto"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, beforeAll, beforeEach } from "vitest"
import type { ArchiveRequest, DecryptOptions } from "../../../packages/archive/src/decrypt/archive.ts"
import { createByteBudget } from "../../../packages/archive/src/decrypt/budget.ts"
import { createKeyRing, parsePrivateKey } from "../../../packages/archive/src/format/key-ring.ts"
import { encodePassword, wrapPassword } from "../../../packages/archive/src/format/password.ts"
import type { ArchiveStore, PartWriter } from "../../../packages/archive/src/store/contract.ts"
import { openStore } from "../../../packages/archive/src/store/open.ts"
import { openInTwo } from "../../../packages/archive/src/store/open-in-two.ts"
import { poisoned } from "../poisoned.ts"

export const PART = 88 * 752
export const KEY = "p/a/archive.ts"
export const never = new AbortController().signal
export const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
export const keyRing = createKeyRing([
  parsePrivateKey(Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })), "k.pem"),
])

/** `size` bytes with a sync byte every 188. */
export function transportStream(size: number): Buffer {
  const stream = randomBytes(size)
  for (let at = 0; at < size; at += 188) stream[at] = 0x47
  return stream
}

export function encrypt(plaintext: Uint8Array, header = [1, 1, 1]) {
  const key = randomBytes(32)
  const iv = randomBytes(16)
  const cipher = createCipheriv("aes-256-cbc", key, iv).setAutoPadding(false)
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
  const password = encodePassword({ key, iv })
  password.set(header)
  return { ciphertext, encryptedPassword: wrapPassword(password, publicKey) }
}

export let root: string
export let source: ArchiveStore
export let destination: ArchiveStore
export let count = 0

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "unseal-decrypt-"))
})
afterAll(() => rm(root, { recursive: true }))
beforeEach(async () => {
  count++
  for (const name of ["source", "destination"])
    await mkdir(join(root, String(count), name), { recursive: true })
  const open = async (name: string) =>
    poisoned(
      await openStore(pathToFileURL(join(root, String(count), name)).href, { env: {}, partSizeBytes: PART }),
    )
  source = await open("source")
  destination = await open("destination")
})

export const pathOf = (store: "source" | "destination", key: string) => join(root, String(count), store, key)
export async function put(store: "source" | "destination", key: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(pathOf(store, key)), { recursive: true })
  await writeFile(pathOf(store, key), bytes)
}
export const get = (key = KEY) => readFile(pathOf("destination", key))
export const record = async () => JSON.parse((await get("p/a/archive.json")).toString())
/** Every file below the destination, hidden ones too. */
export const leftovers = async () =>
  (await readdir(join(root, String(count), "destination"), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)
    .sort()

export const request = (encryptedPassword: string, more: Partial<ArchiveRequest> = {}): ArchiveRequest => ({
  archiveId: "b40ef09b-3811-4726-b508-e41a0f96c68f",
  projectId: "123456",
  encryptedPassword,
  source,
  sourceKeys: ["absent.ts", KEY],
  destination,
  destinationKey: KEY,
  ...more,
})
export const options = (more: Partial<DecryptOptions> = {}): DecryptOptions => ({
  keyRing,
  budget: createByteBudget(3 * PART),
  tail: "keep",
  digest: "sha256",
  existing: "fail",
  record: true,
  ...more,
})

/** A store that counts its calls. `fail` chooses which of them fail, and how. */
export function watched(store: ArchiveStore, fail: (call: string) => void = () => {}) {
  const calls: string[] = []
  const note = (call: string) => {
    calls.push(call)
    fail(call)
  }
  const watchWriter = (writer: PartWriter): PartWriter => ({
    token: writer.token,
    resumable: writer.resumable,
    keepsBodies: writer.keepsBodies,
    partSize: writer.partSize,
    written: (signal) => writer.written(signal),
    async writePart(number, body, crc, signal) {
      note(`write ${number}`)
      return writer.writePart(number, body, crc, signal)
    },
    async complete(parts, signal) {
      note("complete")
      const object = await writer.complete(parts, signal)
      note("completed")
      return object
    },
    abort: () => writer.abort(),
  })
  const watchedStore: ArchiveStore = {
    ...store,
    open: (key, length, signal) => openInTwo(watchedStore, key, length, signal),
    async *read(object, range, signal) {
      note(`read ${range.start}-${range.end}`)
      yield* store.read(object, range, signal)
    },
    async create(key, size, create, signal) {
      if (key === KEY) note(create.token === undefined ? "create" : "resume")
      const writer = await store.create(key, size, create, signal)
      return key === KEY ? watchWriter(writer) : writer
    },
  }
  return { store: watchedStore, calls, writes: () => calls.filter((call) => call.startsWith("write")) }
}
