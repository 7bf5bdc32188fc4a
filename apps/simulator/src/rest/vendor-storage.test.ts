import { createHash } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import { get } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { buffer } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import { openStore } from "@unseal/archive/store/open"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { poisoned } from "../../../../test/harness/poisoned.ts"
import { type Archive, createRecordingCloud, type RecordingCloudOptions } from "../cloud.ts"
import { createCertificate } from "../recording/openssl.ts"
import { startVendorStorage, type VendorStorageOptions } from "./vendor-storage.ts"

const directory = mkdtempSync(join(tmpdir(), "vendor-storage-"))
const path = (name: string) => join(directory, name)
const files = { certificateFile: path("cert.pem"), keyFile: path("key.pem") }
const tls = { certificateFile: path("tls.pem"), keyFile: path("tls-key.pem") }
const never = new AbortController().signal

let received: Record<string, unknown>[]
const receiver = createServer(async (request, response) => {
  received.push(JSON.parse((await buffer(request)).toString()))
  response.writeHead(202).end()
})
beforeAll(async () => {
  await createCertificate(files)
  await createCertificate(tls, { subjectAltName: "IP:127.0.0.1" })
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve))
})
afterAll(() => {
  receiver.closeAllConnections()
  receiver.close()
  rmSync(directory, { recursive: true })
})

let storage: Awaited<ReturnType<typeof startVendorStorage>>
const serve = async (options: Partial<VendorStorageOptions> = {}) => {
  storage = await startVendorStorage({
    ...{ host: "127.0.0.1", port: 0, publicHost: "127.0.0.1", lifetimeMs: 600_000 },
    ...options,
  })
}
beforeEach(() => {
  received = []
})
afterEach(() => storage.close())

async function cloudOf(options: Partial<RecordingCloudOptions> = {}) {
  return createRecordingCloud({
    certificate: readFileSync(files.certificateFile, "utf8"),
    // The directory does not exist, so every upload to the customer fails.
    store: poisoned(await openStore(`file://${path("nowhere")}`, { env: {} })),
    projectId: "123456",
    callbacks: { url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/` },
    vendorStorage: storage,
    ...options,
  })
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")
const bodyOf = async (response: Response) => Buffer.from(await response.arrayBuffer())

describe("an archive whose upload fails", () => {
  test("is available from the vendor if the customer wants that", async () => {
    await serve()
    const archive = await (await cloudOf({ fallback: true })).record({ size: 752 })
    expect(archive).toMatchObject({ status: "available", inVendorStorage: true, recording: { size: 768 } })
    expect(received.map(({ status }) => status)).toEqual(["started", "stopped", "available"])
    expect(received.at(-1)).toMatchObject({
      url: archive.url,
      password: archive.recording!.encryptedPassword,
    })
    expect(sha256(await bodyOf(await fetch(archive.url!)))).toBe(archive.sha256!.ciphertext)
  })

  test("is failed if the customer does not want that", async () => {
    await serve()
    await expect((await cloudOf()).record({ size: 752 })).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
    expect(received.map(({ status }) => status)).toEqual(["started", "stopped", "failed"])
  })
})

test("an archive with status available stays with the vendor, whatever the customer's store", async () => {
  await serve()
  const mine = mkdtempSync(path("bucket-"))
  const cloud = await cloudOf({ store: poisoned(await openStore(`file://${mine}`, { env: {} })) })
  const archive = await cloud.record({ size: 752, statuses: ["started", "available"] })
  expect(await storage.store.stat(archive.key, never)).toMatchObject({ size: 768 })
  expect(await cloud.remove(archive.id, never)).toBe(true)
  expect(await storage.store.stat(archive.key, never)).toBeNull()
  expect((await fetch(archive.url!)).status).toBe(404)
  expect(await cloud.remove(archive.id, never)).toBe(false)
})

describe("the URL of an archive", () => {
  let archive: Archive
  const recorded = async (options: Partial<VendorStorageOptions> = {}) => {
    await serve(options)
    archive = await (await cloudOf()).record({ size: 752, statuses: ["available"] })
    return archive.url!
  }

  test("answers ranges and conditions as an object store does", async () => {
    const url = await recorded()
    const whole = await fetch(url)
    const bytes = await bodyOf(whole)
    expect(whole.headers.get("accept-ranges")).toBe("bytes")
    const etag = whole.headers.get("etag")!
    const ranged = async (range: string) => {
      const response = await fetch(url, { headers: { range } })
      return [response.status, response.headers.get("content-range"), await bodyOf(response)]
    }
    expect(await ranged("bytes=0-15")).toEqual([206, "bytes 0-15/768", bytes.subarray(0, 16)])
    expect(await ranged("bytes=760-9999")).toEqual([206, "bytes 760-767/768", bytes.subarray(760)])
    expect(await ranged("bytes=-8")).toEqual([206, "bytes 760-767/768", bytes.subarray(760)])
    expect((await ranged("bytes=768-"))[0]).toBe(416)
    expect((await fetch(url, { headers: { "if-match": etag } })).status).toBe(200)
    expect((await fetch(url, { headers: { "if-match": '"another"' } })).status).toBe(412)
    const head = await fetch(url, { method: "HEAD" })
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "768"])
  })

  test("serves every byte of an archive that takes many reads, to a slow reader too", async () => {
    await serve()
    const size = 24_000_000
    archive = await (await cloudOf()).record({ size, statuses: ["available"] })
    expect(sha256(await bodyOf(await fetch(archive.url!)))).toBe(archive.sha256!.ciphertext)
    const slow = createHash("sha256")
    for (let start = 0; start < archive.recording!.size; start += 5_000_000) {
      const range = `bytes=${start}-${start + 4_999_999}`
      const response = await fetch(archive.url!, { headers: { range } })
      await sleep(50)
      for await (const piece of response.body!) slow.update(piece)
    }
    expect(slow.digest("hex")).toBe(archive.sha256!.ciphertext)
  })

  test("is refused once it has expired, while a new one is accepted", async () => {
    const url = await recorded({ lifetimeMs: 1 })
    await sleep(5)
    expect((await fetch(url)).status).toBe(403)
    await storage.close()
    const again = await recorded()
    expect((await fetch(storage.urlOf(archive))).status).toBe(200)
    expect((await fetch(again)).status).toBe(200)
  })

  test("is refused if it was changed", async () => {
    const url = await recorded()
    expect((await fetch(url.replace(/Expires=\d/, "Expires=9"))).status).toBe(403)
    expect((await fetch(url.replace("archive.ts", "other.ts"))).status).toBe(403)
    expect((await fetch(url.replace(/\?.*/, ""))).status).toBe(403)
    expect((await fetch(url, { method: "DELETE" })).status).toBe(405)
  })

  test("can use HTTPS", async () => {
    const url = await recorded({ tls })
    expect(url).toMatch(/^https:/)
    const body = await new Promise<Buffer>((resolve, reject) => {
      get(url, { ca: readFileSync(tls.certificateFile), agent: false }, (response) => {
        buffer(response).then(resolve, reject)
      }).on("error", reject)
    })
    expect(sha256(body)).toBe(archive.sha256!.ciphertext)
  })
})
