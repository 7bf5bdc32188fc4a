import { setTimeout as sleep } from "node:timers/promises"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import type { ArchiveStore, CreateOptions } from "@unseal/archive/store/contract"
import { withRetries } from "@unseal/archive/store/requests/retry"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { describeStore } from "../conformance/store-suite.ts"
import {
  expectSameBytes,
  readAll,
  sampleBytes,
  write,
  writePart,
  writeParts,
} from "../conformance/suite/bytes.ts"
import type { StoreUnderTest } from "../conformance/suite/store-under-test.ts"
import { decryptByHand } from "./by-hand.ts"
import { type ForeignS3, foreignStore, PART } from "./foreign-store.ts"
import { certificateOf, type Nginx, type Site, startNginx } from "./nginx.ts"

const KEYS = { accessKeyId: "UNSEALCOMPATIBILITY", secretAccessKey: "compatibility/secret+key" }
const never = new AbortController().signal
const PLAIN: CreateOptions = { contentType: "video/mp2t", metadata: {}, existing: "fail" }
const trusted = getCACertificates("default")

let own: S3Server
let server: ForeignS3
let nginx: Nginx
let buckets = 0

beforeAll(async () => {
  own = await startS3Server({ credentials: [KEYS], buckets: [] })
  server = { endpoint: own.url, ...KEYS, close: () => own.close() }
  nginx = await startNginx(own.url)
  setDefaultCACertificates([...trusted, certificateOf(nginx)])
})
afterAll(async () => {
  setDefaultCACertificates(trusted)
  await nginx?.close()
  await own?.close()
})

/** A bucket of the project's own server, reached through `site`. */
const through = (site: Site, host = "127.0.0.1"): Promise<StoreUnderTest> =>
  foreignStore(server, `bucket-${++buckets}`, nginx.endpoints[site].replace("127.0.0.1", host))

for (const [title, site] of [
  ["TLS and a proxy that buffers", "buffered"],
  ["TLS and a proxy that does not buffer", "unbuffered"],
  ["TLS and a proxy that closes after every answer", "oneEach"],
] as const)
  describeStore(`the S3 store through ${title}`, () => through(site))

describe("nginx", () => {
  const opened: StoreUnderTest[] = []
  async function open(...where: Parameters<typeof through>): Promise<ArchiveStore> {
    const under = await through(...where)
    opened.push(under)
    return under.store
  }
  afterAll(() => Promise.all(opened.map((under) => under.close())))

  it("stands before the server as it was told to", async () => {
    const { headers: oneEach } = await fetch(nginx.endpoints.oneEach)
    expect(oneEach.get("connection")).toBe("close")
    const { status, headers: page } = await fetch(nginx.endpoints.gone)
    expect([status, page.get("content-type")]).toEqual([502, "text/html"])
  })

  it("is found under a name, and with a certificate for it", async () => {
    const store = await open("buffered", "localhost")
    const bytes = sampleBytes("name", PART + 752)
    await write(store, "name.ts", bytes)
    expectSameBytes(await readAll(store, "name.ts"), bytes)
  })

  it("is sent nothing if nobody vouches for it", async () => {
    const store = await open("buffered")
    setDefaultCACertificates(trusted)
    try {
      await expect(store.stat("any.ts", never)).rejects.toMatchObject({
        code: "ERR_STORE_UNAVAILABLE",
        message: expect.stringContaining("self-signed certificate"),
      })
    } finally {
      setDefaultCACertificates([...trusted, certificateOf(nginx)])
    }
  })

  it.each(["buffered", "unbuffered"] as const)(
    "hands on an answer in chunks that ends early: %s",
    async (site) => {
      const bytes = sampleBytes("chunks", PART)
      const store = await open(site)
      await write(store, "chunks.ts", bytes)
      const action = { shortBody: 1_000_000, framing: "chunked" } as const
      own.faults.add({ operation: "GetObject", action, times: 2 })
      const codes: string[] = []
      const retried = withRetries(store, { baseMs: 1, onRetry: (code) => codes.push(code) })
      expectSameBytes(await readAll(retried, "chunks.ts"), bytes)
      expect(codes).toEqual(["ERR_STORE_UNAVAILABLE", "ERR_STORE_UNAVAILABLE"])
    },
  )

  it("may close connections that nobody uses, without a failure here", async () => {
    const store = await open("impatient")
    const bytes = sampleBytes("impatient", 2 * PART)
    const writer = await store.create("impatient.ts", bytes.length, PLAIN, never)
    const parts = new Map([[1, await writePart(writer, bytes, 1)]])
    await sleep(1_500)
    parts.set(2, await writePart(writer, bytes, 2))
    await sleep(1_500)
    await writer.complete(parts, never)
    await sleep(1_500)
    expectSameBytes(await readAll(store, "impatient.ts"), bytes)
  })

  it("answers a body that is too large with a page, and that is not tried again", async () => {
    const store = await open("small")
    const bytes = sampleBytes("small", 2 * PART)
    const writer = await store.create("small.ts", bytes.length, PLAIN, never)
    await expect(writeParts(writer, bytes)).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
      message: expect.stringContaining("413"),
    })
    await expect(write(store, "small-one.ts", bytes.subarray(0, PART))).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
      message: expect.stringContaining("413"),
    })
    await writer.abort()
  })

  const calls: [string, (store: ArchiveStore) => Promise<unknown>][] = [
    ["stat", (store) => store.stat("any.ts", never)],
    ["open", (store) => store.open("any.ts", 16, never)],
    ["read", (store) => readAll({ ...store, stat: async (key) => ({ key, ...OBJECT }) }, "any.ts")],
    ["a write", (store) => write(store, "any.ts", sampleBytes("any", 752))],
    ["a write of several parts", (store) => write(store, "any.ts", sampleBytes("any", 2 * PART))],
    ["open uploads", (store) => Array.fromAsync(store.openUploads(never))],
    ["remove", (store) => store.remove("any.ts", never)],
  ]
  const OBJECT = { size: 16, etag: "any", metadata: {} }
  it.each(calls)(
    "answers with a page when the server is gone, and that is tried again: %s",
    async (_, call) => {
      const failure = call(await open("gone"))
      await expect(failure).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
      await expect(failure).rejects.toThrow(/answered 502/)
    },
  )

  it("gives the command line openssl's result", () =>
    decryptByHand(server, nginx.endpoints.buffered, { NODE_EXTRA_CA_CERTS: nginx.certificateFile }))
})
