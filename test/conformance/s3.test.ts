import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { type AddressInfo, connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inspect } from "node:util"
import { crc32 } from "node:zlib"
import type { OpenedStore, WrittenPart } from "@unseal/archive/store/contract"
import { withRequestLimit } from "@unseal/archive/store/limited"
import { RequestLimit } from "@unseal/archive/store/request-limit"
import { type RetryOptions, withRetries } from "@unseal/archive/store/retry"
import { openS3Store } from "@unseal/archive/store/s3/store"
import type { S3StoreUrl } from "@unseal/archive/store/url"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import type { FaultAction } from "../../apps/simulator/src/s3/faults/plan.ts"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { poisoned } from "../harness/poisoned.ts"
import { rawBucket } from "./s3-raw.ts"
import {
  describeStore,
  drain,
  expectSameBytes,
  readAll,
  type StoreUnderTest,
  sampleBytes,
  write,
  writePart,
  writeParts,
} from "./store-suite.ts"

const PART = 6972 * 752
const PREFIX = "recordings/2026"
const BUCKET = "archives"
const accessKeyId = "UNSEALTESTACCESSKEY"
const secretAccessKey = "canary-secret-access-key-0123456789abcdef"
const never = new AbortController().signal
const SOON = { timeout: 20_000 }
const PLAIN = {
  contentType: "video/mp2t",
  metadata: { "unseal-source-etag": "ours" },
  existing: "fail",
} as const

let base: string
let env: Record<string, string>

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "unseal-s3-store-"))
  const profile = (name: string, secret: string) =>
    `[${name}]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secret}\n`
  const file = join(base, "credentials")
  await writeFile(file, profile("right", secretAccessKey) + profile("wrong", `not-${secretAccessKey}`))
  env = { AWS_SHARED_CREDENTIALS_FILE: file, AWS_CONFIG_FILE: join(base, "config") }
})
afterAll(() => rm(base, { recursive: true }))

const startServer = () =>
  startS3Server({ credentials: [{ accessKeyId, secretAccessKey }], buckets: [BUCKET] })

async function open(
  endpoint: string,
  url: Partial<S3StoreUrl> = {},
  idleTimeoutMs = 20_000,
): Promise<OpenedStore> {
  const full: S3StoreUrl = { kind: "s3", bucket: BUCKET, prefix: PREFIX, endpoint, profile: "right", ...url }
  return poisoned(await openS3Store(full, { partSizeBytes: PART, idleTimeoutMs, env }))
}

async function unusedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function setup(): Promise<StoreUnderTest> {
  const server = await startServer()
  const raw = rawBucket({ endpoint: server.url, bucket: BUCKET, accessKeyId, secretAccessKey })
  const stores: OpenedStore[] = []
  const opened = async (...parameters: Parameters<typeof open>) => {
    const store = await open(...parameters)
    stores.push(store)
    return store
  }
  return {
    store: await opened(server.url),
    reopen: () => opened(server.url),
    put: (key, bytes, metadata) => raw.put(`${PREFIX}/${key}`, bytes, metadata),
    get: (key) => raw.get(`${PREFIX}/${key}`),
    remove: (key) => raw.remove(`${PREFIX}/${key}`),
    openUploadCount: async () => server.openUploads().length,
    minimumPartSize: PART,
    missing: await opened(server.url, { bucket: "no-such-bucket" }),
    denied: await opened(server.url, { profile: "wrong" }),
    unreachable: await opened(`http://127.0.0.1:${await unusedPort()}`),
    async close() {
      await Promise.all(stores.map((store) => store.close()))
      await server.close()
    },
  }
}

describeStore("the S3 store on the project's own S3 server", setup)

describe("specifics of S3", () => {
  let server: S3Server
  let store: OpenedStore

  beforeAll(async () => {
    server = await startServer()
    store = await open(server.url)
  })
  afterEach(() => {
    server.faults.clear()
    server.operations.clear()
    expect(server.openUploads()).toEqual([])
  })
  afterAll(async () => {
    await store?.close()
    await server?.close()
  })

  /** The adapter with the layers of `openStore`, but without their pauses. */
  const asOpened = (options: RetryOptions = {}) =>
    withRetries(withRequestLimit(store, new RequestLimit({ baseMs: 1, maxMs: 5 }), options), {
      baseMs: 1,
      ...options,
    })

  describe("read", () => {
    const bytes = sampleBytes("faulty read", PART + 752)
    const range = { start: 16, end: bytes.length - 16 }
    beforeAll(async () => {
      await write(store, "read.ts", bytes)
    })

    const codeOf = ({ code, status }: FaultAction) =>
      code === "SlowDown" || status === 429 ? "ERR_STORE_BUSY" : "ERR_STORE_UNAVAILABLE"
    const faults: [string, FaultAction][] = [
      ["a body that ends early with a length that hides it", { shortBody: 100_000 }],
      ["a body that ends early in chunks", { shortBody: 100_000, framing: "chunked" }],
      ["a connection that is reset in the body", { resetAfterBytes: 100_000 }],
      ["a connection that is reset before the answer", { reset: true }],
      ["another range than asked for", { wrongContentRange: true }],
      ["the whole object instead of the range", { ignoreRange: true }],
      ["503 SlowDown", { status: 503, code: "SlowDown" }],
      ["500 InternalError", { status: 500 }],
      ["429", { status: 429, code: "TooManyRequests" }],
    ]
    for (const [title, action] of faults) {
      it(`is unavailable on ${title}, and gave no wrong byte before`, async () => {
        const object = await store.stat("read.ts", never)
        server.faults.add({ operation: "GetObject", action })
        let at = range.start
        const reading = async () => {
          for await (const chunk of store.read(object!, range, never)) {
            expectSameBytes(chunk, bytes.subarray(at, at + chunk.length))
            at += chunk.length
          }
        }
        await expect(reading()).rejects.toMatchObject({ code: codeOf(action) })
        expect(at).toBeLessThan(range.end)
      })

      it(`requests only what is missing after ${title}`, async () => {
        const object = await store.stat("read.ts", never)
        server.faults.add({ operation: "GetObject", action, times: 2 })
        const codes: string[] = []
        const retried = asOpened({ onRetry: (code) => codes.push(code) })
        expectSameBytes(
          await drain(retried.read(object!, range, never)),
          bytes.subarray(range.start, range.end),
        )
        expect(codes).toEqual([codeOf(action), codeOf(action)])
        const given = "shortBody" in action ? action.shortBody : 0
        const last = server.operations.entries().findLast((entry) => entry.operation === "GetObject")
        const start = Number(/^bytes=(\d+)-/.exec(last?.range ?? "")?.[1])
        if ("resetAfterBytes" in action) expect(start).toBeGreaterThan(range.start)
        else expect(start).toBe(range.start + 2 * given)
      })
    }

    for (const [title, action] of faults) {
      it(`opens in spite of ${title}, and requests only what is missing`, async () => {
        server.faults.add({ operation: "GetObject", action })
        const retried = asOpened()
        const { object, head } = (await retried.open("read.ts", PART, never))!
        expect(object).toEqual(await store.stat("read.ts", never))
        expectSameBytes(await drain(head), bytes.subarray(0, PART))
        const ranges = server.operations.entries().flatMap(({ range }) => range ?? [])
        expect(ranges).toHaveLength(2)
        const start = "shortBody" in action ? action.shortBody : 0
        if (!("resetAfterBytes" in action)) expect(ranges[1]).toBe(`bytes=${start}-${PART - 1}`)
      })
    }

    it("opens in one request, and leaves its connection to the next", async () => {
      for (let round = 0; round < 3; round++) {
        const { head } = (await store.open("read.ts", PART, never))!
        expectSameBytes(await drain(head), bytes.subarray(0, PART))
      }
      expect(server.operations.entries().map(({ operation }) => operation)).toEqual(
        Array(3).fill("GetObject"),
      )
    })

    it("finds out with one request that there is nothing to open", async () => {
      expect(await store.open("absent.ts", PART, never)).toBeNull()
      server.operations.clear()
      expect(await store.open("absent.ts", PART, never)).toBeNull()
      expect(server.operations.entries().map(({ operation }) => operation)).toEqual(["GetObject"])
    })

    it("gives up a connection on which nothing moves", async () => {
      const impatient = await open(server.url, {}, 300)
      const object = await impatient.stat("read.ts", never)
      server.faults.add({ operation: "GetObject", action: { hang: true } })
      await expect(drain(impatient.read(object!, range, never))).rejects.toMatchObject({
        code: "ERR_STORE_UNAVAILABLE",
      })
      await impatient.close()
    })

    it("rejects with the reason of an abort while nothing moves", async () => {
      const object = await store.stat("read.ts", never)
      server.faults.add({ operation: "GetObject", action: { hang: true } })
      const reason = new Error("shutting down")
      const controller = new AbortController()
      const reading = drain(store.read(object!, range, controller.signal))
      setTimeout(() => controller.abort(reason), 50)
      await expect(reading).rejects.toBe(reason)
    })
  })

  describe("an ambiguous answer", () => {
    const applied: [string, FaultAction][] = [
      ["applied, then reset", { applyThenReset: true }],
      ["applied, then 500", { applyThenStatus: 500 }],
      ["applied, then 404", { applyThenStatus: 404 }],
      ["applied, then 409", { applyThenStatus: 409 }],
      ["applied, then 412", { applyThenStatus: 412 }],
      ["applied, then an error in a 200", { applyThenErrorInOk: true }],
    ]
    const lost: [string, FaultAction][] = [
      ["reset before", { reset: true }],
      ["503", { status: 503, code: "ServiceUnavailable" }],
      ["409 ConditionalRequestConflict", { status: 409, code: "ConditionalRequestConflict" }],
      ["an error in a 200", { errorInOk: true }],
    ]
    const forms = [
      { operation: "CompleteMultipartUpload", size: PART + 752 },
      { operation: "PutObject", size: 752 },
    ] as const

    for (const { operation, size } of forms)
      for (const existing of ["fail", "replace"] as const) {
        // The condition makes no difference to how an answer is lost, so two forms without it are enough.
        for (const [title, action] of existing === "fail" ? applied : applied.slice(0, 2))
          it(`of ${operation} counts as done with ${existing}: ${title}`, async () => {
            const key = `settle/${operation}/${existing}/${title}.ts`
            const bytes = sampleBytes(key, size)
            const writer = await store.create(key, size, { ...PLAIN, existing }, never)
            const parts = await writeParts(writer, bytes)
            server.faults.add({ operation, action })
            const object = await writer.complete(parts, never)
            expect(object).toEqual(await store.stat(key, never))
            expect(server.operations.count(operation)).toBe(1)
            expectSameBytes(await readAll(store, key), bytes)
            await writer.abort()
          })

        // Only Complete can answer success with an error in its body.
        const possible = lost.filter(([, { errorInOk }]) => !errorInOk || size > PART)
        for (const [title, action] of existing === "fail" ? possible : possible.slice(0, 2))
          it(`of ${operation} is unavailable with ${existing} and can be repeated: ${title}`, async () => {
            const key = `settle/${operation}/${existing}/${title}.ts`
            const bytes = sampleBytes(key, size)
            const writer = await store.create(key, size, { ...PLAIN, existing }, never)
            const parts = await writeParts(writer, bytes)
            server.faults.add({ operation, action })
            await expect(writer.complete(parts, never)).rejects.toMatchObject({
              code: "ERR_STORE_UNAVAILABLE",
            })
            expect(await store.stat(key, never)).toBeNull()
            await writer.complete(parts, never)
            expectSameBytes(await readAll(store, key), bytes)
          })
      }

    it("does not count as done if another object is there", async () => {
      for (const { operation, size } of forms) {
        const key = `settle/${operation}/foreign.ts`
        const bytes = sampleBytes(key, size)
        const writer = await store.create(key, size, PLAIN, never)
        const parts = await writeParts(writer, bytes)
        await write(store, key, bytes, { metadata: { "unseal-source-etag": "another" } })
        server.faults.add({ operation, action: { reset: true } })
        await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_DESTINATION_EXISTS" })
        await writer.abort()
      }
    })

    it("leaves the upload for another try if the destination can't be read back", async () => {
      const bytes = sampleBytes("blind", PART + 752)
      const writer = await store.create("settle/blind.ts", bytes.length, PLAIN, never)
      const parts = await writeParts(writer, bytes)
      server.faults.add({ operation: "CompleteMultipartUpload", action: { applyThenReset: true } })
      server.faults.add({ operation: "HeadObject", after: 1, action: { status: 500, code: "InternalError" } })
      await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
      expect(await writer.complete(parts, never)).toMatchObject({ size: bytes.length })
      expectSameBytes(await readAll(store, "settle/blind.ts"), bytes)
    })
  })

  describe("a store without conditional writes", () => {
    for (const code of ["NotImplemented", "InvalidArgument"])
      for (const [operation, size] of [
        ["CompleteMultipartUpload", PART + 752],
        ["PutObject", 752],
      ] as const)
        it(`that answers ${code} to ${operation} gets it again without the condition`, async () => {
          const key = `unconditional/${operation}/${code}.ts`
          const bytes = sampleBytes(key, size)
          const status = code === "NotImplemented" ? 501 : 400
          // A store that has not learned this yet.
          const fresh = await open(server.url)
          server.faults.add({ operation, action: { status, code } })
          await write(fresh, key, bytes)
          await fresh.close()
          expectSameBytes(await readAll(store, key), bytes)
          expect(server.operations.count(operation)).toBe(2)
        })

    it("is not asked to replace an object: the destination is read first", async () => {
      const foreign = sampleBytes("foreign", 752)
      await write(store, "unconditional/foreign.ts", foreign, { metadata: {} })
      server.operations.clear()
      const writer = await store.create("unconditional/foreign.ts", PART + 16, PLAIN, never)
      const parts = await writeParts(writer, sampleBytes("mine", PART + 16))
      await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_DESTINATION_EXISTS" })
      expect(server.operations.count("CompleteMultipartUpload")).toBe(0)
      await writer.abort()
      expectSameBytes(await readAll(store, "unconditional/foreign.ts"), foreign)
    })
  })

  describe("parts", () => {
    it("are verified by the store once it has shown that it can", async () => {
      const bytes = sampleBytes("verified", 2 * PART)
      const writer = await store.create("parts/verified.ts", bytes.length, PLAIN, never)
      await writePart(writer, bytes, 1)
      const body = bytes.subarray(PART)
      const sent = server.operations.count("UploadPart")
      await expect(writer.writePart(2, [body], (crc32(body) ^ 1) >>> 0, never)).rejects.toMatchObject({
        code: "ERR_STORE_UNAVAILABLE",
        message: expect.stringMatching(/answered 400/),
      })
      expect(server.operations.count("UploadPart")).toBe(sent + 1)
      expect([...(await writer.written(never)).keys()]).toEqual([1])
      await writer.abort()
    })

    it("are all listed if they take more than one page", async () => {
      const bytes = sampleBytes("pages", 3 * PART)
      const writer = await store.create("parts/pages.ts", 1100 * PART, PLAIN, never)
      const body = bytes.subarray(0, PART)
      const numbers = [1, 2, 999, 1000, 1001, 1100]
      for (const number of numbers) await writer.writePart(number, [body], crc32(body), never)
      expect([...(await writer.written(never)).keys()]).toEqual(numbers)
      await writer.abort()
    })

    it("of a removed upload can't be written", async () => {
      const bytes = sampleBytes("gone", 2 * PART)
      const writer = await store.create("parts/gone.ts", bytes.length, PLAIN, never)
      await writer.abort()
      await expect(writePart(writer, bytes, 1)).rejects.toMatchObject({ code: "ERR_UPLOAD_GONE" })
      const parts = new Map<number, WrittenPart>(
        [1, 2].map((number) => [number, { size: PART, tag: "none" }]),
      )
      await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_UPLOAD_GONE" })
    })

    it("have a token that begins with that of the listing", async () => {
      const writer = await store.create("parts/token.ts", 2 * PART, PLAIN, never)
      const [listed] = await Array.fromAsync(store.openUploads(never))
      expect(writer.token.startsWith(listed!.token)).toBe(true)
      expect(listed?.key).toBe("parts/token.ts")
      await store.abortUpload(listed!, never)
    })
  })

  describe("once the store has shown it", () => {
    let fresh: OpenedStore
    beforeEach(async () => {
      fresh = await open(server.url)
    })
    afterEach(() => fresh.close())
    const put = (key: string) => write(fresh, key, sampleBytes(key, 752))
    const asked = () =>
      server.operations
        .entries()
        .map(({ operation }) => operation)
        .filter((operation) => ["HeadObject", "PutObject"].includes(operation))

    it("an existing bucket is not looked for again with each missing key", async () => {
      for (const key of ["shown/1", "shown/2", "shown/3"]) expect(await fresh.stat(key, never)).toBeNull()
      expect(server.operations.count("HeadBucket")).toBe(1)
      expect(server.operations.count("HeadObject")).toBe(3)
    })

    it("a store that verifies checksums is left to it", async () => {
      const writeDamaged = async (key: string) => {
        const body = sampleBytes(key, 752)
        const writer = await fresh.create(key, body.length, PLAIN, never)
        const written = await writer.writePart(1, [body], (crc32(body) ^ 1) >>> 0, never)
        await writer.complete(new Map([[1, written]]), never)
      }
      await expect(writeDamaged("shown/first")).rejects.toThrow(/was damaged before it was written/)
      await put("shown/checksum")
      await expect(writeDamaged("shown/second")).rejects.toThrow(/answered 400/)
      for (const key of ["shown/first", "shown/second"]) expect(await fresh.stat(key, never)).toBeNull()
    })

    it("a store that refuses to replace is not asked about each small object first", async () => {
      for (const key of ["shown/a", "shown/b"]) await put(key)
      // The first alone finds nothing out. The second is written once more, in vain.
      expect(asked()).toEqual(["HeadObject", "PutObject", "HeadObject", "PutObject", "PutObject"])
      server.operations.clear()
      await put("shown/c")
      expect(asked()).toEqual(["PutObject"])
      for (const key of ["shown/a", "shown/b", "shown/c"])
        expectSameBytes(await readAll(fresh, key), sampleBytes(key, 752))
    })

    it("and another object is still told from its own", async () => {
      for (const key of ["shown/d", "shown/e", "shown/f"]) await put(key)
      server.operations.clear()
      expect(await put("shown/d")).toMatchObject({ size: 752 })
      expect(asked()).toEqual(["PutObject", "HeadObject"])
      await expect(
        write(fresh, "shown/e", sampleBytes("another", 752), {
          metadata: { "unseal-source-etag": "another" },
        }),
      ).rejects.toMatchObject({
        code: "ERR_DESTINATION_EXISTS",
      })
      expectSameBytes(await readAll(fresh, "shown/e"), sampleBytes("shown/e", 752))
    })

    it("a store that replaces in spite of the condition is asked before each object", async () => {
      server.faults.add({ operation: "PutObject", times: Infinity, action: { ignoreConditions: true } })
      for (const key of ["shown/g", "shown/h", "shown/i"]) await put(key)
      const once = ["HeadObject", "PutObject"]
      expect(asked()).toEqual([...once, ...once, "PutObject", ...once])
      expectSameBytes(await readAll(fresh, "shown/h"), sampleBytes("shown/h", 752))
      server.operations.clear()
      await expect(
        write(fresh, "shown/h", sampleBytes("another", 752), {
          metadata: { "unseal-source-etag": "another" },
        }),
      ).rejects.toMatchObject({
        code: "ERR_DESTINATION_EXISTS",
      })
      expect(asked()).toEqual(["HeadObject"])
    })

    it("a store that refuses the condition itself is asked before each object, without experiments", async () => {
      for (const [index, key] of ["shown/j", "shown/k", "shown/l"].entries()) {
        server.faults.add({ operation: "PutObject", action: { status: 501, code: "NotImplemented" } })
        server.operations.clear()
        await put(key)
        expect(asked(), `object ${index}`).toEqual(["HeadObject", "PutObject", "PutObject"])
      }
    })

    it("no recording is written twice for an experiment", async () => {
      const bytes = sampleBytes("shown/large", 65_536 + 16)
      for (const key of ["shown/q", "shown/r", "shown/s"]) await write(fresh, key, bytes)
      const once = ["HeadObject", "PutObject"]
      expect(asked()).toEqual([...once, ...once, ...once])
    })

    it("only one of many concurrent objects experiments", async () => {
      await put("shown/t")
      server.operations.clear()
      await Promise.all(Array.from({ length: 8 }, (_, index) => put(`shown/t${index}`)))
      expect(server.operations.count("PutObject")).toBe(9)
    })

    it("a failed experiment does not fail the object, and is repeated", async () => {
      await put("shown/m")
      server.faults.add({ operation: "PutObject", after: 1, action: { reset: true } })
      await put("shown/n")
      server.operations.clear()
      await put("shown/o")
      expect(asked()).toEqual(["HeadObject", "PutObject", "PutObject"])
    })
  })

  it("lists only the uploads below its prefix", async () => {
    const elsewhere = await open(server.url, { prefix: "recordings/2026-other" })
    const writer = await elsewhere.create("a.ts", 2 * PART, PLAIN, never)
    expect(await Array.fromAsync(store.openUploads(never))).toEqual([])
    expect(await Array.fromAsync(elsewhere.openUploads(never))).toMatchObject([{ key: "a.ts" }])
    await writer.abort()
    await elsewhere.close()
  })

  it("ends an upload that was aborted while it began, because nobody else has its id", async () => {
    // It begins at once, and its id takes two seconds to arrive.
    server.faults.add({ operation: "CreateMultipartUpload", action: { throttleBytesPerSecond: 200 } })
    const abort = new AbortController()
    const reason = new Error("lock lost")
    const creating = store.create("aborted.ts", 2 * PART, PLAIN, abort.signal)
    creating.catch(() => {})
    await expect.poll(() => server.openUploads(), SOON).toHaveLength(1)
    abort.abort(reason)
    await expect(creating).rejects.toBe(reason)
    await expect.poll(() => server.openUploads(), SOON).toEqual([])
  })

  it("writes and reads correctly while a third of all requests fail", async () => {
    const bytes = sampleBytes("storm", 3 * PART + 752)
    for (const action of [{ status: 503 }, { reset: true }, { shortBody: 70_000 }] as const)
      server.faults.add({ operation: "*", key: /storm/, probability: 0.12, times: Infinity, action })
    const retried = asOpened({ maxMs: 5, attempts: 12 })
    for (let round = 0; round < 4; round++) {
      await write(retried, `storm/${round}.ts`, bytes, { metadata: { round: String(round) } })
      expectSameBytes(await readAll(retried, `storm/${round}.ts`), bytes)
    }
    server.faults.clear()
    // The janitor removes what a lost answer to CreateMultipartUpload leaves behind.
    for await (const upload of store.openUploads(never)) await store.abortUpload(upload, never)
  })

  describe("on the wire", () => {
    it("a part and a small object have a length and a checksum, no chunked signing, and no hash of the payload", async () => {
      const wire = await record(server.port)
      const recorded = await open(`http://127.0.0.1:${wire.port}`)
      await write(recorded, "wire/parts.ts", sampleBytes("wire", PART + 752))
      await write(recorded, "wire/small.ts", sampleBytes("wire", 752))
      await recorded.close()
      const puts = (await wire.close()).filter((head) => head.startsWith("PUT "))
      expect(puts).toHaveLength(3)
      for (const head of puts) {
        expect(head).toMatch(/^x-amz-content-sha256: UNSIGNED-PAYLOAD$/im)
        expect(head).toMatch(/^x-amz-checksum-crc32: [A-Za-z0-9+/]{6}==$/im)
        expect(head).toMatch(/^content-length: (752|5242944)$/im)
        expect(head).not.toMatch(/aws-chunked|transfer-encoding|x-amz-trailer|^expect:/im)
      }
    })

    it("a second request uses the connection of the first", async () => {
      const wire = await record(server.port)
      const recorded = await open(`http://127.0.0.1:${wire.port}`)
      await write(recorded, "wire/again.ts", sampleBytes("wire", 752))
      for (let round = 0; round < 10; round++) await readAll(recorded, "wire/again.ts")
      expect(wire.connections()).toBe(1)
      await recorded.close()
      await wire.close()
    })
  })

  describe("messages", () => {
    it("name the request, its object and the answer", async () => {
      const port = await unusedPort()
      const unreachable = await open(`http://127.0.0.1:${port}`)
      await expect(unreachable.stat("a.ts", never)).rejects.toThrow(
        `s3://archives/recordings/2026/a.ts did not answer HeadObject: connect ECONNREFUSED 127.0.0.1:${port}`,
      )
      const missing = await open(server.url, { bucket: "no-such-bucket" })
      await expect(missing.stat("a.ts", never)).rejects.toThrow("bucket s3://no-such-bucket does not exist")
      server.faults.add({ operation: "UploadPart", action: { status: 503, code: "SlowDown" } })
      await expect(write(store, "message.ts", sampleBytes("message", 2 * PART))).rejects.toThrow(
        /^UploadPart 1 of s3:\/\/archives\/recordings\/2026\/message\.ts answered 503 SlowDown: /,
      )
      for await (const upload of store.openUploads(never)) await store.abortUpload(upload, never)
    })

    it("hold no secret, and neither do their causes", async () => {
      const denied = await open(server.url, { profile: "wrong" })
      const error = await denied.create("a.ts", 2 * PART, PLAIN, never).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: "ERR_STORE_DENIED" })
      expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(secretAccessKey)
    })

    it("report a profile that does not exist as a lack of credentials", async () => {
      const nobody = await open(server.url, { profile: "nobody" })
      await expect(nobody.stat("a.ts", never)).rejects.toMatchObject({
        code: "ERR_STORE_DENIED",
        message: expect.stringMatching(/^no usable credentials for s3:\/\/archives/),
      })
    })
  })
})

/** Relays connections to `port` and keeps the request heads. */
async function record(port: number) {
  const streams: Buffer[][] = []
  const proxy = createServer((client) => {
    const chunks: Buffer[] = []
    streams.push(chunks)
    const upstream = connect(port, "127.0.0.1")
    client.on("data", (chunk: Buffer) => chunks.push(chunk))
    client.pipe(upstream).pipe(client)
    for (const socket of [client, upstream])
      socket.on("error", () => {
        client.destroy()
        upstream.destroy()
      })
  })
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve))
  return {
    port: (proxy.address() as AddressInfo).port,
    connections: () => streams.length,
    async close(): Promise<string[]> {
      await new Promise((resolve) => proxy.close(resolve))
      const text = streams.map((chunks) => Buffer.concat(chunks).toString("latin1")).join("")
      return text.match(/(?:GET|PUT|POST|HEAD|DELETE) \/\S* HTTP\/1\.1\r\n(?:[^\r\n]+\r\n)+/g) ?? []
    },
  }
}
