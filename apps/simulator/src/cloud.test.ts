import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { poisoned } from "../../../test/harness/poisoned.ts"
import {
  createRecordingCloud,
  DISORDERED_STATUSES,
  type RecordingCloud,
  type RecordingCloudOptions,
} from "./cloud.ts"
import { createCertificate, decryptByOpenssl } from "./recording/openssl.ts"

const PROJECT_ID = "123456"
const directory = mkdtempSync(join(tmpdir(), "cloud-"))
const files = { certificateFile: join(directory, "cert.pem"), keyFile: join(directory, "key.pem") }
let certificate: string

/** A customer's callback URL: it reacts to the first requests as listed, and accepts every later one. */
let reactions: number[]
let received: { body: Record<string, unknown>; headers: IncomingHttpHeaders }[]
const receiver = createServer(async (request, response) => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  received.push({ body: JSON.parse(Buffer.concat(chunks).toString("utf8")), headers: request.headers })
  response.writeHead(reactions.shift() ?? 202).end("{}")
})
let url: string

beforeAll(async () => {
  await createCertificate(files)
  certificate = readFileSync(files.certificateFile, "utf8")
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve))
  url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/callbacks/${PROJECT_ID}`
})
afterAll(() => {
  receiver.closeAllConnections()
  receiver.close()
  rmSync(directory, { recursive: true })
})

let bucket: string
let store: ArchiveStore & { close(): Promise<void> }
beforeEach(async () => {
  reactions = []
  received = []
  bucket = mkdtempSync(join(directory, "bucket-"))
  store = poisoned(await openStore(`file://${bucket}`, { env: {} }))
})
afterEach(() => store.close())

const cloudOf = (options: Partial<RecordingCloudOptions> = {}): RecordingCloud =>
  createRecordingCloud({
    certificate,
    store,
    projectId: PROJECT_ID,
    callbacks: { url, timeScale: 0.001 },
    ...options,
  })

const statuses = () => received.map(({ body }) => body.status)
const sha256 = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex")

describe("a recorded archive", () => {
  test.each([
    [0, "pkcs7", undefined],
    [752, "none", undefined],
    [1_500_000, "zero", undefined],
    [20_000_000, "pkcs7", undefined],
    [11_156 * 752, "zero", true],
    [11_156 * 752 + 16, "pkcs7", true],
  ] as const)(
    "is in the store and decrypts by openssl to its digest: %i bytes, tail %s",
    async (size, tail, exact) => {
      const archive = await cloudOf().record({ size, tail, ...(exact ? { exact } : {}) })
      const uploaded = received.find(({ body }) => body.status === "uploaded")!.body
      const source = join(bucket, archive.key)
      const destination = join(directory, "decrypted.ts")
      expect(archive.key).toBe(`${PROJECT_ID}/${archive.id}/archive.ts`)
      expect(sha256(source)).toBe(archive.sha256!.ciphertext)
      expect(readFileSync(source)).toHaveLength(uploaded.size as number)
      await decryptByOpenssl({
        encryptedPassword: uploaded.password as string,
        keyFile: files.keyFile,
        source,
        destination,
      })
      expect(sha256(destination)).toBe(archive.sha256!.plaintext)
    },
  )

  test("sends the callbacks started, stopped and uploaded", async () => {
    const archive = await cloudOf().record({ size: 752, name: "Foo" })
    expect(statuses()).toEqual(["started", "stopped", "uploaded"])
    for (const { body } of received)
      expect(body).toMatchObject({ id: archive.id, partnerId: 123456, name: "Foo" })
    expect(received.map(({ body }) => body.password !== "")).toEqual([false, false, true])
    expect(archive).toMatchObject({ status: "uploaded", recording: { size: 768 } })
    expect(archive.callbacks.map(({ delivery }) => delivery?.outcome)).toEqual([
      "accepted",
      "accepted",
      "accepted",
    ])
  })

  test("can send uploaded before stopped", async () => {
    const archive = await cloudOf().record({ size: 752, statuses: DISORDERED_STATUSES })
    expect(statuses()).toEqual(["started", "uploaded", "stopped"])
    expect(archive.status).toBe("uploaded")
  })

  test("can send each callback several times", async () => {
    await cloudOf().record({ size: 752, duplicates: 2 })
    expect(statuses().sort()).toEqual(
      ["started", "stopped", "uploaded"].flatMap((status) => [status, status, status]),
    )
    expect(new Set(received.map(({ body }) => JSON.stringify(body))).size).toBe(3)
  })

  test("goes on while a callback is retried, and an abort ends the retries", async () => {
    const stop = new AbortController()
    reactions = Array.from({ length: 100 }, () => 503)
    const recording = cloudOf({ callbacks: { url, timeScale: 100 } }).record({ size: 752 }, stop.signal)
    while (received.length < 3) await new Promise((resolve) => setTimeout(resolve, 5))
    stop.abort(new Error("the process ends"))
    await expect(recording).rejects.toThrow("the process ends")
    expect(statuses()).toEqual(["started", "stopped", "uploaded"])
  })

  test("sends signed callbacks if there is a secret", async () => {
    await cloudOf({ callbacks: { url, signatureSecret: "a-signature-secret-of-32-bytes!!" } }).record({
      size: 752,
    })
    for (const { headers } of received)
      expect(headers.authorization).toMatch(/^Bearer [\w-]+\.[\w-]+\.[\w-]+$/)
  })

  test("sends no callbacks without a URL", async () => {
    const cloud = createRecordingCloud({ certificate, store, projectId: PROJECT_ID })
    expect(await cloud.record({ size: 752 })).toMatchObject({ status: "uploaded", callbacks: [] })
    expect(received).toEqual([])
  })

  test("is not uploaded if no status calls for it", async () => {
    const archive = await cloudOf().record({ size: 752, statuses: ["started", "failed"], reason: "no disk" })
    expect(received.map(({ body }) => [body.status, body.reason])).toEqual([
      ["started", "no disk"],
      ["failed", "no disk"],
    ])
    expect(archive.recording).toBeNull()
    expect(await store.stat(archive.key, new AbortController().signal)).toBeNull()
  })

  test("can be available at a URL instead", async () => {
    const statuses = ["started", "stopped", "available", "expired"] as const
    await cloudOf().record({ size: 752, statuses, url: "https://example.com/archive" })
    expect(received.map(({ body }) => [body.status, body.url])).toEqual([
      ["started", null],
      ["stopped", null],
      ["available", "https://example.com/archive"],
      ["expired", null],
    ])
  })

  test("follows the key template and the form of callbacks", async () => {
    const applicationId = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
    const archive = await cloudOf({
      projectId: applicationId,
      keyTemplate: "video/{projectId}/{archiveId}.mp4",
      form: { projectIdName: "applicationId", sizeForm: "string", sha256sum: "ciphertext" },
      oaepHash: "sha256",
      certificate: Buffer.from(certificate).toString("base64"),
    }).record({ size: 752 })
    expect(archive.key).toBe(`video/${applicationId}/${archive.id}.mp4`)
    expect(received.at(-1)!.body).toMatchObject({
      applicationId,
      size: "768",
      sha256sum: createHash("sha256")
        .update(readFileSync(join(bucket, archive.key)))
        .digest("base64"),
    })
    const destination = join(directory, "decrypted.ts")
    const password = { encryptedPassword: archive.recording!.encryptedPassword, oaepHash: "sha256" as const }
    await decryptByOpenssl({
      ...password,
      keyFile: files.keyFile,
      source: join(bucket, archive.key),
      destination,
    })
    expect(sha256(destination)).toBe(archive.sha256!.plaintext)
  })
})

describe("an archive whose upload fails", () => {
  test("sends the callback failed, and rejects with the store's error", async () => {
    rmSync(bucket, { recursive: true })
    const cloud = cloudOf()
    await expect(cloud.record({ size: 752 })).rejects.toMatchObject({ name: "UnsealError" })
    expect(statuses()).toEqual(["started", "stopped", "failed"])
    expect(received.at(-1)!.body).toMatchObject({ reason: "the upload failed", password: "" })
    expect([...cloud.archives.values()]).toMatchObject([{ status: "failed", recording: null }])
    mkdirSync(bucket)
  })

  test("does not keep other archives from being recorded", async () => {
    const cloud = cloudOf()
    await expect(cloud.recordMany([{ size: 752 }, { size: 17, exact: true }, { size: 752 }])).rejects.toThrow(
      "17",
    )
    expect([...cloud.archives.values()].map(({ status }) => status)).toEqual(["uploaded", "uploaded"])
  })

  test("leaves nothing behind when it is aborted halfway", async () => {
    const stop = new AbortController()
    const stopped: ArchiveStore = {
      ...store,
      async create(...args) {
        const writer = await store.create(...args)
        return {
          ...writer,
          async writePart(number, ...rest) {
            if (number === 2) stop.abort(new Error("the process ends"))
            return writer.writePart(number, ...rest)
          },
        }
      },
    }
    const cloud = cloudOf({ store: stopped })
    await expect(cloud.record({ size: 30_000_000 }, stop.signal)).rejects.toThrow("the process ends")
    const [archive] = [...cloud.archives.values()]
    const { signal } = new AbortController()
    expect(await store.stat(archive!.key, signal)).toBeNull()
    for await (const upload of store.openUploads(signal)) expect.unreachable(upload.key)
    expect(statuses()).toEqual(["started", "stopped"])
  })
})

describe("many archives", () => {
  test("are all recorded, several at a time, in the order given", async () => {
    const sizes = Array.from({ length: 12 }, (_, index) => 752 * (index + 1))
    let active = 0
    let most = 0
    const watched: ArchiveStore = {
      ...store,
      async create(...args) {
        most = Math.max(most, ++active)
        const writer = await store.create(...args)
        return {
          ...writer,
          complete: (...args) => writer.complete(...args).finally(() => active--),
        }
      },
    }
    const cloud = cloudOf({ store: watched })
    const archives = await cloud.recordMany(
      sizes.map((size) => ({ size, tail: "none" as const })),
      { parallelism: 3 },
    )
    expect(archives.map(({ recording }) => recording!.size)).toEqual(sizes)
    expect([...cloud.archives.keys()].sort()).toEqual(archives.map(({ id }) => id).sort())
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(3)
    expect(statuses().filter((status) => status === "uploaded")).toHaveLength(12)
  })

  test("are not started after an abort", async () => {
    const cloud = cloudOf()
    const recording = cloud.recordMany([{ size: 752 }], {
      signal: AbortSignal.abort(new Error("the process ends")),
    })
    await expect(recording).rejects.toThrow("the process ends")
    expect(cloud.archives.size).toBe(0)
  })
})

test("a certificate without an RSA key is refused", () => {
  const args = ["req", "-new", "-x509", "-nodes", "-subj", "/CN=test", "-keyout", join(directory, "ec.pem")]
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
  const certificate = execFileSync("openssl", [...args, ...ec], { stdio: ["ignore", "pipe", "ignore"] })
  expect(() => cloudOf({ certificate: certificate.toString() })).toThrow("type ec, not rsa")
})
