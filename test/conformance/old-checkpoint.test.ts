/**
 * Uploads that Unseal 0.1.0 left unfinished, with parts of whole cipher blocks instead of whole packets. The checkpoints in
 * test/vectors are what its worker wrote to Redis, and to its journal, for the archive below with two parts written.
 */
import { createCipheriv, createHash, generateKeyPairSync } from "node:crypto"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { CreateMultipartUploadCommand, S3Client } from "@aws-sdk/client-s3"
import { decryptArchive } from "@unseal/archive/decrypt/archive"
import { createByteBudget } from "@unseal/archive/decrypt/budget"
import { createKeyRing, parsePrivateKey } from "@unseal/archive/format/key-ring"
import { encodePassword, wrapPassword } from "@unseal/archive/format/password"
import type { ArchiveSource, ArchiveStore, OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { openInTwo } from "@unseal/archive/store/open-in-two"
import { checkpointKey, lockKey } from "@unseal/queue/names"
import { openCheckpointLog } from "@unseal/queue/run/checkpoint"
import { Redis } from "ioredis"
import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import { startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { poisoned } from "../harness/poisoned.ts"
import { type RedisServer, startRedis } from "../harness/redis/redis.ts"
import {
  azureStores,
  DESTINATION_NAME,
  fileStores,
  S3_CREDENTIAL,
  type StoreKind,
  s3Stores,
} from "../harness/stores.ts"
import { readAll } from "./suite/bytes.ts"

interface OldCheckpoint {
  readonly fields: Readonly<Record<string, string>>
  readonly journal?: { readonly name: string; readonly text: string }
}

const checkpoints: Record<StoreKind, OldCheckpoint> = JSON.parse(
  await readFile(join(import.meta.dirname, "../vectors/checkpoints-0.1.0.json"), "utf8"),
)
const KEY = "p/a/archive.ts"
const JOB = { queue: "unseal", jobId: "job", token: "run" }
const never = new AbortController().signal
const contentKey = { key: new Uint8Array(32).fill(1), iv: new Uint8Array(16).fill(2) }
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
const keyRing = createKeyRing([
  parsePrivateKey(Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })), "k.pem"),
])
const encryptedPassword = wrapPassword(encodePassword(contentKey), publicKey)

/** The plaintext that 0.1.0 got: every hundredth packet has no sync byte. */
function plaintextOf(size: number): Buffer {
  const key = createHash("sha256").update("checkpoint").digest()
  const plaintext = createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(size))
  for (let packet = 0; packet * 188 < size; packet++) plaintext[packet * 188] = packet % 100 === 99 ? 0 : 0x47
  return plaintext
}

/** Its ciphertext, in the version that the checkpoint names. */
function sourceOf(plaintext: Uint8Array, etag: string): ArchiveSource {
  const cipher = createCipheriv("aes-256-cbc", contentKey.key, contentKey.iv).setAutoPadding(false)
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
  const source: Pick<ArchiveSource, "stat" | "read"> = {
    stat: async (key) => ({ key, size: ciphertext.length, etag, metadata: {} }),
    async *read(_, { start, end }) {
      yield ciphertext.subarray(start, end)
    },
  }
  return { ...source, open: (key, length, signal) => openInTwo(source, key, length, signal) }
}

const closing: (() => Promise<unknown>)[] = []
let redis: RedisServer
let connection: Redis
beforeAll(async () => {
  redis = await startRedis()
  connection = new Redis(redis.url)
})
afterAll(async () => {
  connection?.disconnect()
  await redis?.close()
})
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function openDestination(
  kind: StoreKind,
  old: OldCheckpoint,
  plaintext: Uint8Array,
): Promise<{ store: OpenedStore; token: string }> {
  const { token, partSize } = JSON.parse(old.fields.upload!)
  const open = async (url: string, env: Readonly<Record<string, string>>) => {
    const credentials = {
      accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
      secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
    }
    const store = poisoned(await openStore(url, { env, ...(kind === "s3" && { credentials }) }))
    closing.push(() => store.close())
    return store
  }
  if (kind === "file") {
    const base = await mkdtemp(join(tmpdir(), "unseal-old-"))
    closing.push(() => rm(base, { recursive: true }))
    const { destination } = await fileStores(base)
    const directory = join(base, DESTINATION_NAME, "p/a")
    await mkdir(directory, { recursive: true })
    const { name, text } = old.journal!
    await writeFile(join(directory, name), text)
    await writeFile(join(directory, name.replace(/\.parts$/, "")), plaintext.subarray(0, 2 * partSize))
    return { store: await open(destination, {}), token }
  }
  if (kind === "azure") {
    const stores = await azureStores()
    closing.push(stores.close)
    return { store: await open(stores.destination, stores.env), token }
  }
  const server = await startS3Server({
    credentials: [
      {
        accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
        secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
      },
    ],
    buckets: [DESTINATION_NAME],
  })
  closing.push(() => server.close())
  const store = await open(s3Stores(Number(new URL(server.url).port)).destination, {})
  const client = new S3Client({
    ...{ endpoint: server.url, region: "us-east-1", forcePathStyle: true },
    credentials: {
      accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
      secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
    },
  })
  closing.push(async () => client.destroy())
  const { UploadId } = await client.send(
    new CreateMultipartUploadCommand({ Bucket: DESTINATION_NAME, Key: KEY, ChecksumAlgorithm: "CRC32" }),
  )
  // A server chooses the upload id itself.
  return { store, token: `multipart:${UploadId}:${partSize}` }
}

test.each<StoreKind>(["s3", "azure", "file"])("an upload of 0.1.0 on %s is resumed", async (kind) => {
  const old = checkpoints[kind]
  const upload = JSON.parse(old.fields.upload!)
  const { plaintextSize, partSize } = upload
  expect(partSize % 16).toBe(0)
  expect(partSize % 188).not.toBe(0)
  const plaintext = plaintextOf(plaintextSize)
  const { store, token } = await openDestination(kind, old, plaintext)
  const create = { contentType: "video/mp2t", metadata: {}, existing: "fail", token } as const
  const writer = await store.create(KEY, plaintextSize, create, never)
  expect(writer.partSize).toBe(partSize)
  if (kind !== "file")
    for (const number of [1, 2]) {
      const body = plaintext.subarray((number - 1) * partSize, number * partSize)
      await writer.writePart(number, [body], crc32(body), never)
    }
  // What the store holds is what 0.1.0 had noted.
  const noted = [1, 2].map((number) => JSON.parse(old.fields[`part:${number}`]!))
  const held = await writer.written(never)
  expect([...held].sort(([a], [b]) => a - b)).toEqual(
    noted.map(({ size, tag }, index) => [index + 1, { size, tag }]),
  )

  await connection.flushall()
  await connection.set(lockKey(JOB.queue, JOB.jobId), JOB.token)
  const fields = { ...old.fields, upload: JSON.stringify({ ...upload, token }) }
  await connection.hset(checkpointKey(JOB.queue, JOB.jobId), fields)

  const crash = new Error("killed")
  const run = async (dieAt?: number) => {
    const checkpoint = openCheckpointLog({ ...JOB, connection, signal: never, onLockLost() {} })
    const calls: string[] = []
    const watched: ArchiveStore = {
      ...store,
      async create(key, size, options, signal) {
        const inner = await store.create(key, size, options, signal)
        if (key !== KEY) return inner
        calls.push(options.token === undefined ? "begin" : "resume")
        return {
          ...inner,
          writePart(number, ...part) {
            if (number === dieAt) throw crash
            calls.push(`write ${number}`)
            return inner.writePart(number, ...part)
          },
        }
      },
    }
    const request = {
      ...{ archiveId: "a", projectId: "p", encryptedPassword, sourceKeys: [KEY], destinationKey: KEY },
      ...{ source: sourceOf(plaintext, upload.sourceEtag), destination: watched },
    }
    const options = {
      ...({ keyRing, budget: createByteBudget(partSize), tail: "keep", digest: "none" } as const),
      ...({ existing: "fail", record: kind === "file", checkpoint } as const),
    }
    const error = await decryptArchive(request, options, never).then(
      ({ record }) => ({ record }),
      (error) => ({ error }),
    )
    return { ...error, calls }
  }
  // Receipts of 0.1.0 carry no proof, so its parts are sent again. The next run trusts what this one writes.
  expect(await run(3)).toEqual({ error: crash, calls: ["resume", "write 1", "write 2"] })
  const ended = await run()
  const left = kind === "s3" ? ["write 3"] : ["write 3", "write 4", "write 5"]
  expect(ended.calls).toEqual(["resume", ...left])
  const packets = Math.floor(plaintextSize / 188)
  expect(ended).toMatchObject({
    record: { crc32: crc32(plaintext).toString(16).padStart(8, "0"), media: { packets } },
  })
  expect("record" in ended && ended.record.media.syncErrors).toBe(Math.floor(packets / 100))
  expect(Buffer.compare(await readAll(store, KEY), plaintext)).toBe(0)
  expect(await Array.fromAsync(store.openUploads(never))).toEqual([])
})
