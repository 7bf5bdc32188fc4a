/** The vendor's copies at their real shape: many parts, behind URLs that expire between them, over TLS. */
import { createHash } from "node:crypto"
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { pathToFileURL } from "node:url"
import { decryptArchive } from "@unseal/archive/decrypt/archive"
import { createByteBudget } from "@unseal/archive/decrypt/budget"
import { createKeyRing, parsePrivateKey } from "@unseal/archive/format/key-ring"
import type { ArchiveStore, OpenedStore } from "@unseal/archive/store/contract"
import { parseHostList } from "@unseal/archive/store/https/allowed-hosts"
import { openHttpsStore } from "@unseal/archive/store/https/source"
import { openStore } from "@unseal/archive/store/open"
import { readSmallObject, writeSmallObject } from "@unseal/archive/store/small-object"
import { type Archive, createRecordingCloud } from "@unseal/simulator/cloud"
import { createCertificate } from "@unseal/simulator/recording/openssl"
import { startVendorStorage } from "@unseal/simulator/rest/vendor-storage"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { poisoned } from "../harness/poisoned.ts"

const PART = 1024 * 1024
const SIZE = 24_000_000
const KEY = "plain.ts"
const never = new AbortController().signal

let directory: string
let copy: string
let destination: OpenedStore
let vendor: Awaited<ReturnType<typeof startVendorStorage>>
let archive: Archive
let renewed: number
/** The vendor's. */
let clock = 0
let opened: OpenedStore[]
const path = (name: string) => join(directory, name)

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-copies-"))
  const tls = { certificateFile: path("tls.pem"), keyFile: path("tls-key.pem") }
  await createCertificate(tls, { subjectAltName: "IP:127.0.0.1" })
  setDefaultCACertificates([...getCACertificates("default"), await readFile(tls.certificateFile, "utf8")])
  await createCertificate({ certificateFile: path("cert.pem"), keyFile: path("key.pem") })
  vendor = await startVendorStorage({
    ...{ host: "127.0.0.1", port: 0, publicHost: "127.0.0.1", tls },
    lifetimeMs: 600_000,
    now: () => clock,
  })
})
afterAll(async () => {
  await vendor?.close()
  await rm(directory, { recursive: true })
})

beforeEach(async () => {
  renewed = 0
  opened = []
  copy = path(`destination-${Math.random()}`)
  await mkdir(copy)
  destination = poisoned(await openStore(pathToFileURL(copy).href, { env: {}, partSizeBytes: PART }))
  const cloud = createRecordingCloud({
    certificate: await readFile(path("cert.pem"), "utf8"),
    ...{ store: destination, projectId: "123456", vendorStorage: vendor },
  })
  archive = await cloud.record({ size: SIZE, statuses: ["available"] })
})
afterEach(async () => {
  for (const store of opened) await store.close()
  await destination.close()
})

/**
 * The vendor's copy as a worker reads it; `before` is awaited before each read but the first. Reads begin one after the other, so
 * that no URL expires between its renewal and its use.
 */
function copyOf(before: (reads: number) => unknown): ArchiveStore {
  const store = openHttpsStore({
    ...{ key: "vendor://123456/archive", url: archive.url! },
    hosts: parseHostList(`127.0.0.1:${vendor.port}`),
    async renew() {
      renewed++
      return vendor.urlOf(archive)
    },
  })
  opened.push(store)
  let reads = 0
  let begun = Promise.resolve()
  return poisoned({
    ...store,
    async *read(object, range, signal) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const earlier = begun
      begun = promise
      try {
        await earlier
        await before(++reads)
        for await (const chunk of store.read(object, range, signal)) {
          resolve()
          yield chunk
        }
      } finally {
        resolve()
      }
    },
  })
}

async function decrypt(source: ArchiveStore) {
  const ring = createKeyRing([parsePrivateKey(await readFile(path("key.pem")), "key.pem")])
  return decryptArchive(
    {
      ...{ archiveId: archive.id, projectId: "123456", source, sourceKeys: ["vendor://123456/archive"] },
      encryptedPassword: archive.recording!.encryptedPassword,
      ...{ destination, destinationKey: KEY },
    },
    {
      ...{ keyRing: ring, budget: createByteBudget(3 * PART), tail: "keep", digest: "sha256" },
      ...{ existing: "fail", record: true },
    },
    never,
  )
}

test("a copy of 24 MB is read part by part, by another URL whenever the last one has expired", async () => {
  const expire = (reads: number) => {
    if (reads % 3 === 0) clock += 600_000
  }
  const { outcome, record } = await decrypt(copyOf(expire))
  expect(outcome).toBe("committed")
  expect(record.source.size).toBe(archive.recording!.size)
  // 23 parts, the first of them opened: each third read finds its URL expired.
  expect(renewed).toBe(7)
  const plain = await readSmallObject(destination, (await destination.stat(KEY, never))!, 2 ** 30, never)
  expect(createHash("sha256").update(plain).digest("hex")).toBe(archive.sha256!.plaintext)
  expect(record.sha256?.plaintext).toBe(archive.sha256!.plaintext)
})

test("a copy that is replaced between two parts is never mixed: the other version is refused", async () => {
  const other = new Uint8Array(archive.recording!.size).fill(7)
  const source = copyOf(async (reads) => {
    if (reads === 5) await writeSmallObject(vendor.store, archive.key, other, "video/mp2t", never)
  })
  await expect(decrypt(source)).rejects.toMatchObject({ code: "ERR_OBJECT_CHANGED" })
  expect(await destination.stat(KEY, never)).toBeNull()
})
