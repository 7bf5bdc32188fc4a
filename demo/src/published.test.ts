import { X509Certificate } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { writeSmallObject } from "@unseal/archive/store/small-object"
import { createCertificate, decryptByOpenssl } from "@unseal/simulator/recording/openssl"
import { makeRecording } from "@unseal/simulator/recording/recording"
import { type S3Server, startS3Server } from "@unseal/simulator/s3/http/server"
import { poisoned } from "@unseal/test/harness/poisoned"
import { s3Stores, VENDOR_CREDENTIAL } from "@unseal/test/harness/stores"
import type { RecordedArchive, System } from "@unseal/test/harness/system"
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { lookForPublished, wronglyPublished } from "./published.ts"

const never = new AbortController().signal
const size = 188_000
const directory = mkdtempSync(join(tmpdir(), "unseal-published-"))
afterAll(() => rmSync(directory, { recursive: true }))
const path = (name: string) => join(directory, name)
const keyFile = path("key.pem")
const credentials = {
  accessKeyId: VENDOR_CREDENTIAL.AWS_ACCESS_KEY_ID,
  secretAccessKey: VENDOR_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
}

let encryptedPassword: string
beforeAll(async () => {
  const certificateFile = path("cert.pem")
  await createCertificate({ certificateFile, keyFile })
  const recording = makeRecording({
    sample: readFileSync(resolve(import.meta.dirname, "../../test/vectors/audio-only-12s.mpegts")),
    publicKey: new X509Certificate(readFileSync(certificateFile)).publicKey,
    ...{ size, exact: true, tail: "none" },
  })
  encryptedPassword = recording.encryptedPassword
  writeFileSync(path("ciphertext"), Buffer.concat([...recording.ciphertext]))
  const files = { source: path("ciphertext"), destination: path("plaintext") }
  await decryptByOpenssl({ encryptedPassword, keyFile, ...files })
})

let server: S3Server
let stores: { source: OpenedStore; destination: OpenedStore }
let archives: RecordedArchive[]
beforeEach(async () => {
  server = await startS3Server({
    ...{ credentials: [credentials], buckets: ["recordings", "decrypted"] },
    ...{ quirks: ["denied"], exemptFromQuirks: [credentials.accessKeyId] },
  })
  const open = async (url: string) => poisoned(await openStore(url, { env: {}, credentials }))
  const urls = s3Stores(server.port)
  stores = { source: await open(urls.source), destination: await open(urls.destination) }
  archives = []
  return async () => {
    await stores.source.close()
    await stores.destination.close()
    await server.close()
  }
})

/** Records an archive, with `plaintext` and possibly a record at the destination. */
async function put(id: string, plaintext?: Uint8Array, record = plaintext !== undefined): Promise<void> {
  const key = `123456/${id}/archive.ts`
  const digests = { plaintext: "", ciphertext: "" }
  archives.push({ id, key, tail: "none", recording: { size, encryptedPassword }, sha256: digests })
  await writeSmallObject(stores.source, key, readFileSync(path("ciphertext")), "video/mp2t", never)
  if (plaintext) await writeSmallObject(stores.destination, key, plaintext, "video/mp2t", never)
  const recordKey = `123456/${id}/archive.json`
  if (record)
    await writeSmallObject(stores.destination, recordKey, Buffer.from("{}"), "application/json", never)
}

/** Looks at a store that denies everything to everybody but the vendor. */
const look = () =>
  lookForPublished({
    ...{ keyFile, simulator: { ports: { s3: server.port } }, archives: async () => archives },
    archive: async (id: string) => archives.find((archive) => archive.id === id)!,
  } as unknown as System)

test("a waiting archive has left nothing at the destination", async () => {
  await put("waits")
  const published = await look()
  expect(published).toEqual({ whole: 0, torn: 0, vouchedFor: 0 })
  expect(wronglyPublished(published, "nothing")).toBeNull()
})

test("a whole archive is right if the quirk spares some", async () => {
  await put("whole", readFileSync(path("plaintext")))
  await put("waits")
  const published = await look()
  expect(published).toEqual({ whole: 1, torn: 0, vouchedFor: 0 })
  expect(wronglyPublished(published, "nothing")).toMatch(/^1 archive is published/)
  expect(wronglyPublished(published, "whole archives")).toBeNull()
  expect(wronglyPublished(published, "torn archives")).toBeNull()
})

test("a torn archive is right if the store itself tears it, and no record vouches for it", async () => {
  await put("torn", readFileSync(path("plaintext")).subarray(0, 188), false)
  const published = await look()
  expect(published).toEqual({ whole: 0, torn: 1, vouchedFor: 0 })
  expect(wronglyPublished(published, "nothing")).toMatch(/^1 archive differs/)
  expect(wronglyPublished(published, "whole archives")).toMatch(/^1 archive differs/)
  expect(wronglyPublished(published, "torn archives")).toBeNull()
})

test.each([
  ["a torn archive", Buffer.alloc(188)],
  ["nothing", undefined],
])("a record beside %s is wrong everywhere", async (_, plaintext) => {
  await put("vouched-for", plaintext, true)
  const published = await look()
  expect(published).toMatchObject({ vouchedFor: 1 })
  for (const leaves of ["nothing", "whole archives", "torn archives"] as const)
    expect(wronglyPublished(published, leaves)).toMatch(/^1 archive has a record/)
})
