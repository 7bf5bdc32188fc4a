/** S3 stores whose server has quirks, all closed after each test. */

import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ArchiveStore, OpenedStore } from "@unseal/archive/store/contract"
import type { StoreNotice } from "@unseal/archive/store/notices"
import { withRetries } from "@unseal/archive/store/requests/retry"
import { openS3Store } from "@unseal/archive/store/s3/store"
import type { S3StoreUrl } from "@unseal/archive/store/url"
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest"
import { type S3Server, startS3Server } from "../../../apps/simulator/src/s3/http/server.ts"
import type { QuirkName } from "../../../apps/simulator/src/s3/quirks/quirks.ts"
import { poisoned } from "../../harness/poisoned.ts"
import { drain, expectSameBytes, readAll, sampleBytes, write } from "./bytes.ts"

export const PART = 6972 * 752
export const BUCKET = "archives"
export const accessKeyId = "UNSEALTESTACCESSKEY"
export const secretAccessKey = "canary-secret-access-key-0123456789abcdef"
export const never = new AbortController().signal

export const SIZES = [752, 12 * 1024 * 1024 + 16] as const

export let directory: string
export let server: S3Server
export let raw: OpenedStore
let opened: OpenedStore[] = []
export let notices: StoreNotice[]

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-s3-quirks-"))
  server = await startS3Server({ credentials: [{ accessKeyId, secretAccessKey }], buckets: [BUCKET] })
  raw = await open()
  opened = []
})
beforeEach(() => {
  notices = []
})
afterEach(async () => {
  server.quirks.clear()
  server.policies.delete(accessKeyId)
  await Promise.all(opened.map((store) => store.close()))
  opened = []
  for await (const upload of raw.openUploads(never)) await raw.abortUpload(upload, never)
  server.operations.clear()
})
afterAll(async () => {
  await raw?.close()
  await server?.close()
  await rm(directory, { recursive: true })
})

interface Opening {
  readonly url?: Partial<S3StoreUrl>
  readonly env?: Record<string, string>
  /** A profile in the credentials file, used instead. */
  readonly profile?: string
}

/** A store about which nothing is known yet, as in a process that has just started. */
export async function open({ url, env = {}, profile }: Opening = {}): Promise<OpenedStore> {
  const adapter = await openS3Store(
    {
      ...{ kind: "s3", bucket: BUCKET, prefix: "", endpoint: server.url, region: "us-east-1" },
      ...(profile && { profile }),
      ...url,
    },
    {
      ...{ partSizeBytes: PART, idleTimeoutMs: 20_000, env },
      ...(profile ? {} : { credentials: { accessKeyId, secretAccessKey } }),
      onNotice: (notice) => notices.push(notice),
    },
  )
  const store = poisoned(adapter)
  opened.push(store)
  return store
}

export async function open1(quirk: QuirkName | readonly QuirkName[], opening?: Opening) {
  for (const name of [quirk].flat()) server.quirks.add(name)
  const store = await open(opening)
  return { store, retried: withRetries(store, { baseMs: 1, maxMs: 5 }) }
}

let written = 0
/** Writes, looks and reads, and reads the parts of a resumed upload back, as a decryption does. */
export async function roundTrip(store: ArchiveStore, size: number): Promise<void> {
  const key = `round/${written++}.ts`
  const bytes = sampleBytes(key, size)
  expect(await store.stat(key, never)).toBeNull()
  const object = await write(store, key, bytes)
  expect(object).toMatchObject({ key, size })
  expect(await store.stat(key, never)).toEqual(object)
  const { head } = (await store.open(key, 64, never))!
  expectSameBytes(await drain(head), bytes.subarray(0, 64))
  expectSameBytes(await readAll(store, key), bytes)
}
