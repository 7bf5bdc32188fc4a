import { randomUUID } from "node:crypto"
import { createServer } from "node:net"
import { inspect } from "node:util"
import { openAzureStore } from "@unseal/archive/store/azure/store"
import type { CreateOptions, OpenedStore } from "@unseal/archive/store/contract"
import type { AzureStoreUrl } from "@unseal/archive/store/url"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { accountSas, createRawContainer, type RawContainer } from "../harness/azure-rest.ts"
import { type Azurite, startAzurite } from "../harness/azurite.ts"
import {
  type Answer,
  type Exchange,
  type FaultyProxy,
  startFaultyProxy,
} from "../harness/network/faulty-proxy.ts"
import { poisoned } from "../harness/poisoned.ts"
import {
  describeStore,
  drain,
  expectSameBytes,
  sampleBytes,
  write,
  writePart,
  writeParts,
} from "./store-suite.ts"

const PART = 349 * 752

async function open(
  url: Omit<AzureStoreUrl, "kind">,
  env: Record<string, string>,
  idleTimeoutMs = 30_000,
): Promise<OpenedStore> {
  return poisoned(
    await openAzureStore({ kind: "azure", ...url }, { partSizeBytes: PART, idleTimeoutMs, env }),
  )
}

/** Every text reachable from `value`, even through non-enumerable properties, as a careless serializer might find it. */
function* textsIn(value: unknown, seen = new Set<unknown>()): Generator<string> {
  if (typeof value === "string") yield value
  if (typeof value !== "object" || value === null || seen.has(value)) return
  seen.add(value)
  if (value instanceof Map) yield* textsIn([...value], seen)
  for (const name of Reflect.ownKeys(value)) yield* textsIn(Reflect.get(value, name), seen)
}

async function unusedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === "object" && address !== null ? address.port : 0
}

describeStore("the Azure store on Azurite", async () => {
  const azurite: Azurite = await startAzurite()
  const raw = await createRawContainer(azurite, `conformance-${randomUUID()}`)
  const env = { AZURE_STORAGE_KEY: azurite.key }
  const url = { container: raw.name, prefix: "", endpoint: azurite.url }
  return {
    store: await open(url, env),
    reopen: () => open(url, env),
    put: (key, bytes, metadata) => raw.put(key, bytes, metadata),
    get: async (key) => (await raw.get(key))?.bytes ?? null,
    remove: (key) => raw.remove(key),
    openUploadCount: async () => (await raw.uncommitted()).length,
    minimumPartSize: PART,
    missing: await open({ ...url, container: "no-such-container" }, env),
    denied: await open(url, { AZURE_STORAGE_KEY: Buffer.alloc(64, 1).toString("base64") }),
    unreachable: await open(
      { ...url, endpoint: `http://127.0.0.1:${await unusedPort()}/${azurite.account}` },
      env,
    ),
    close: () => azurite.close(),
  }
})

describe("specifics of Azure", () => {
  const never = new AbortController().signal
  const plain = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
  const bytes = sampleBytes("azure", 2 * PART + 752)
  let azurite: Azurite
  let raw: RawContainer
  let proxy: FaultyProxy
  let url: { container: string; prefix: string; endpoint: string }
  let env: Record<string, string>
  let store: OpenedStore
  let proxied: OpenedStore

  beforeAll(async () => {
    azurite = await startAzurite()
    raw = await createRawContainer(azurite, `own-${randomUUID()}`)
    proxy = await startFaultyProxy(azurite.url)
    url = { container: raw.name, prefix: "some/prefix", endpoint: azurite.url }
    env = { AZURE_STORAGE_KEY: azurite.key }
    store = await open(url, env)
    proxied = await open({ ...url, endpoint: `${proxy.url}/${azurite.account}` }, env, 3_000)
  })
  afterEach(() => proxy.honest())
  afterAll(async () => {
    await proxy?.close()
    await azurite?.close()
  })

  /** A writer in an instance of its own, like another process's. */
  const create = async (key: string, options: Partial<CreateOptions> = {}) =>
    (await open(url, env)).create(key, bytes.length, { ...plain, ...options }, never)

  describe("an object", () => {
    it("is stored under the prefix, with its content type, and with underscores in the names of its metadata", async () => {
      await write(store, "a/archive.ts", bytes, { metadata: { "unseal-source-etag": "x" } })
      const { headers } = (await raw.get("some/prefix/a/archive.ts"))!
      expect(headers.get("x-ms-meta-unseal_source_etag")).toBe("x")
      expect(headers.get("content-type")).toBe("video/mp2t")
    })

    it("has a location without credentials or a query", () => {
      expect(store.location).toBe(`azure://${raw.name}/some/prefix`)
    })

    it("of another program has its metadata with dashes", async () => {
      await raw.put("some/prefix/foreign.ts", bytes.subarray(0, 16), { made_by: "somebody" })
      expect((await store.stat("foreign.ts", never))?.metadata).toEqual({ "made-by": "somebody" })
    })
  })

  describe("staged blocks", () => {
    it("of another upload or another program are not parts of this one", async () => {
      const other = await create("blocks/foreign.ts")
      await writePart(other, bytes, 1)
      await raw.stage("some/prefix/blocks/foreign.ts", "x".repeat(51), bytes.subarray(0, PART))
      const writer = await create("blocks/foreign.ts")
      expect((await writer.written(never)).size).toBe(0)
      const second = await writePart(writer, bytes, 2)
      expect(await writer.written(never)).toEqual(new Map([[2, second]]))
    })

    it("that another object's commit discards fail the upload, and publish nothing", async () => {
      const writer = await create("blocks/discarded.ts", { existing: "replace" })
      const parts = await writeParts(writer, bytes)
      await write(store, "blocks/discarded.ts", bytes.subarray(0, 16))
      await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_UPLOAD_GONE" })
      expectSameBytes((await raw.get("some/prefix/blocks/discarded.ts"))!.bytes, bytes.subarray(0, 16))
    })

    it("with two contents of a part don't count unless staged here, and the tag decides which is committed", async () => {
      const writer = await create("blocks/two.ts")
      const wrong = await writePart(writer, sampleBytes("wrong", bytes.length), 1)
      const parts = await writeParts(writer, bytes)
      expect(await writer.written(never)).toEqual(parts)
      const resumed = await create("blocks/two.ts", { token: writer.token })
      expect([...(await resumed.written(never)).keys()]).toEqual([2, 3])
      expect(parts.get(1)).not.toEqual(wrong)
      await resumed.complete(parts, never)
      expectSameBytes((await raw.get("some/prefix/blocks/two.ts"))!.bytes, bytes)
    })

    it("of another program with ids of another length are reported as the obstacle", async () => {
      await raw.stage("some/prefix/blocks/length.ts", "short", bytes.subarray(0, 16))
      const writer = await create("blocks/length.ts")
      await expect(writePart(writer, bytes, 1)).rejects.toMatchObject({
        code: "ERR_DESTINATION_EXISTS",
        message: expect.stringContaining("another program's staged blocks"),
      })
    })

    it("resume without parts in an upload that has none, or that ended elsewhere", async () => {
      const untouched = await create("blocks/untouched.ts")
      const ended = await create("blocks/untouched.ts")
      await writePart(ended, bytes, 1)
      await ended.abort()
      for (const { token } of [untouched, ended]) {
        const resumed = await create("blocks/untouched.ts", { token })
        expect((await resumed.written(never)).size).toBe(0)
      }
      await expect(writePart(ended, bytes, 2)).rejects.toMatchObject({ code: "ERR_UPLOAD_GONE" })
    })
  })

  describe("abort", () => {
    it("leaves the parts of another upload of the same key", async () => {
      const staying = await create("abort/shared.ts")
      const leaving = await proxied.create("abort/shared.ts", bytes.length, plain, never)
      const parts = await writeParts(staying, bytes)
      await writeParts(leaving, bytes)
      // Azurite keeps the blocks of a deleted blob, unlike Azure. So the test checks that there is no deletion.
      const methods = new Set<string>()
      proxy.fault(async (exchange) => {
        methods.add(exchange.method)
        exchange.answer(await exchange.forward())
      })
      await leaving.abort()
      expect([...methods]).toEqual(["GET"])
      await staying.complete(parts, never)
      expectSameBytes((await raw.get("some/prefix/abort/shared.ts"))!.bytes, bytes)
    })

    it("removes the parts of all uploads of a key with the last of them", async () => {
      const uploads = [await create("abort/all.ts"), await create("abort/all.ts")]
      for (const writer of uploads) await writePart(writer, bytes, 1)
      for await (const upload of store.openUploads(never))
        if (upload.key === "abort/all.ts") await store.abortUpload(upload, never)
      expect(await raw.staged("some/prefix/abort/all.ts")).toEqual([])
      expect(await raw.uncommitted()).not.toContain("some/prefix/abort/all.ts")
    })

    it("deletes no object that becomes visible at the last moment", async () => {
      const writer = await proxied.create("abort/late.ts", bytes.length, plain, never)
      await writePart(writer, bytes, 1)
      proxy.fault(async (exchange) => {
        if (exchange.method === "DELETE") await raw.put("some/prefix/abort/late.ts", bytes.subarray(0, 752))
        exchange.answer(await exchange.forward())
      })
      await writer.abort()
      expectSameBytes((await raw.get("some/prefix/abort/late.ts"))!.bytes, bytes.subarray(0, 752))
    })

    it("succeeds if nothing may be deleted", async () => {
      const limited = await open(url, { AZURE_STORAGE_SAS_TOKEN: accountSas(azurite, "rwlac") })
      const writer = await limited.create("abort/kept.ts", bytes.length, plain, never)
      await writePart(writer, bytes, 1)
      await writer.abort()
      expect(await limited.stat("abort/kept.ts", never)).toBeNull()
    })
  })

  it("lists open uploads oldest first, with a token that resumes them, and only under the prefix", async () => {
    await raw.stage("elsewhere.ts", "x".repeat(51), bytes.subarray(0, 16))
    await raw.stage("some/prefix/list/foreign.ts", "x".repeat(51), bytes.subarray(0, 16))
    const later = await create("list/a.ts")
    const older = await create("list/b.ts", { token: `u1-${"0".repeat(23)}1-${later.token.slice(-8)}` })
    for (const writer of [later, older]) await writePart(writer, bytes, 1)
    const listed = []
    for await (const upload of store.openUploads(never))
      if (upload.key.startsWith("list/")) listed.push(upload)
    expect(listed).toMatchObject([
      { key: "list/b.ts", token: older.token, startedAt: new Date(0) },
      { key: "list/a.ts", token: later.token },
    ])
    for (const upload of listed) await store.abortUpload(upload, never)
    await store.abortUpload({ key: "list/a.ts", token: "of no upload", startedAt: new Date() }, never)
  })

  describe("a commit whose answer is ambiguous", () => {
    const isCommit = ({ method, url }: Exchange) => method === "PUT" && url.includes("comp=blocklist")
    const unavailable = {
      status: 503,
      headers: { "x-ms-error-code": "OperationTimedOut" },
      body: Buffer.alloc(0),
    }
    const answers: [string, (exchange: Exchange) => void][] = [
      ["a cut connection", (exchange) => exchange.cut()],
      ["503", (exchange) => exchange.answer(unavailable)],
      ["no answer", () => {}],
    ]
    for (const [name, respond] of answers) {
      it(`succeeds if it took effect: ${name}`, async () => {
        proxy.fault(async (exchange) => {
          const answer = await exchange.forward()
          if (isCommit(exchange)) respond(exchange)
          else exchange.answer(answer)
        })
        const key = `ambiguous/effect ${name}.ts`
        const object = await write(proxied, key, bytes, { metadata: { "unseal-source-etag": "ours" } })
        expect(object).toEqual(await store.stat(key, never))
        expectSameBytes((await raw.get(`some/prefix/${key}`))!.bytes, bytes)
      })

      it(`is unavailable if it did not take effect, and succeeds at the second call: ${name}`, async () => {
        proxy.fault(async (exchange) => {
          if (isCommit(exchange)) respond(exchange)
          else exchange.answer(await exchange.forward())
        })
        const writer = await proxied.create(`ambiguous/none ${name}.ts`, bytes.length, plain, never)
        const parts = await writeParts(writer, bytes)
        await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
        proxy.honest()
        await writer.complete(parts, never)
        expectSameBytes((await raw.get(`some/prefix/ambiguous/none ${name}.ts`))!.bytes, bytes)
      })
    }
  })

  describe("a read with a wrong answer", () => {
    const faults: [string, (answer: Answer, exchange: Exchange) => void][] = [
      ["200 instead of 206", (answer, exchange) => exchange.answer({ ...answer, status: 200 })],
      [
        "another Content-Range",
        (answer, exchange) =>
          exchange.answer({
            ...answer,
            headers: { ...answer.headers, "content-range": `bytes 0-751/${bytes.length}` },
          }),
      ],
      [
        "another version's ETag",
        (answer, exchange) => exchange.answer({ ...answer, headers: { ...answer.headers, etag: '"0x1"' } }),
      ],
      [
        "fewer bytes, and a clean end",
        (answer, exchange) => exchange.answer({ ...answer, body: answer.body.subarray(0, 400) }),
      ],
      [
        "fewer bytes, and a reset",
        (answer, exchange) =>
          exchange.answer({ ...answer, body: answer.body.subarray(0, 400) }, answer.body.length),
      ],
      ["no answer", () => {}],
      ["503", (_, exchange) => exchange.answer({ status: 503, headers: {}, body: Buffer.alloc(0) })],
      [
        "another server's 404",
        (_, exchange) => exchange.answer({ status: 404, headers: {}, body: Buffer.from("?") }),
      ],
    ]
    for (const [name, fault] of faults)
      it(`is unavailable: ${name}`, async () => {
        await raw.put("some/prefix/faults.ts", bytes)
        const object = (await proxied.stat("faults.ts", never))!
        proxy.fault(async (exchange) => fault(await exchange.forward(), exchange))
        await expect(drain(proxied.read(object, { start: 16, end: 1600 }, never))).rejects.toMatchObject({
          code: "ERR_STORE_UNAVAILABLE",
        })
        proxy.honest()
        expectSameBytes(
          await drain(proxied.read(object, { start: 16, end: 1600 }, never)),
          bytes.subarray(16, 1600),
        )
      })

    it("does not take another server's 404 for a missing object", async () => {
      proxy.fault((exchange) => exchange.answer({ status: 404, headers: {}, body: Buffer.alloc(0) }))
      await expect(proxied.stat("absent.ts", never)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    })
  })

  it("is refused by the store if a part was changed in transit", async () => {
    const writer = await proxied.create("faults/md5.ts", bytes.length, plain, never)
    proxy.fault(async (exchange) => {
      const body = Buffer.from(exchange.body)
      if (body.length > 0) body[body.length - 1]! ^= 1
      exchange.answer(await exchange.forward(body))
    })
    await expect(writePart(writer, bytes, 1)).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      message: expect.stringContaining("Md5Mismatch"),
    })
    expect((await writer.written(never)).size).toBe(0)
    await writer.abort()
  })

  describe("credentials", () => {
    const secrets = () => [azurite.key, encodeURIComponent(azurite.key)]
    const object = { key: "any.ts", size: 16, etag: '"0x1"', metadata: {} }
    const everyCall = (broken: OpenedStore) => [
      () => broken.stat("any.ts", never),
      () => broken.open("any.ts", 16, never),
      () => drain(broken.read(object, { start: 0, end: 16 }, never)),
      () => write(broken, "any.ts", bytes),
      () => Array.fromAsync(broken.openUploads(never)),
    ]

    it("are a connection string, an account key or a shared access signature", async () => {
      const environments = [
        { AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString },
        { AZURE_STORAGE_KEY: azurite.key },
        { AZURE_STORAGE_ACCOUNT: azurite.account, AZURE_STORAGE_KEY: azurite.key },
        {
          AZURE_STORAGE_CONNECTION_STRING: "",
          AZURE_STORAGE_KEY: "",
          AZURE_STORAGE_SAS_TOKEN: accountSas(azurite),
        },
        { AZURE_STORAGE_SAS_TOKEN: `?${accountSas(azurite)}` },
        {
          AZURE_STORAGE_CONNECTION_STRING: `BlobEndpoint=${azurite.url};SharedAccessSignature=${accountSas(azurite)}`,
        },
      ]
      for (const [index, environment] of environments.entries()) {
        const key = `credentials/${index}.ts`
        await write(await open(url, environment), key, bytes)
        expectSameBytes((await raw.get(`some/prefix/${key}`))!.bytes, bytes)
      }
    })

    it("from a connection string are sent to the URL's endpoint, which may be left out", async () => {
      const environment = { AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString }
      const { endpoint: _, ...withoutEndpoint } = url
      for (const where of [withoutEndpoint, { ...withoutEndpoint, account: azurite.account }])
        expect(await (await open(where, environment)).stat("absent.ts", never)).toBeNull()
      const sas = {
        AZURE_STORAGE_CONNECTION_STRING: `BlobEndpoint=http://127.0.0.1:9/${azurite.account};SharedAccessSignature=${accountSas(azurite)}`,
      }
      expect(await (await open(url, sas)).stat("absent.ts", never)).toBeNull()
    })

    it("of another account are skipped", async () => {
      const other = azurite.connectionString
        .replace(`AccountName=${azurite.account}`, "AccountName=other")
        .replace(azurite.url, "http://127.0.0.1:9/other")
      const opened = await open(url, {
        AZURE_STORAGE_CONNECTION_STRING: other,
        AZURE_STORAGE_KEY: azurite.key,
      })
      expect(await opened.stat("absent.ts", never)).toBeNull()
      await expect(
        open(url, { AZURE_STORAGE_ACCOUNT: "other", AZURE_STORAGE_KEY: azurite.key }),
      ).rejects.toMatchObject({ code: "ERR_STORE_DENIED", message: expect.stringContaining("no credential") })
    })

    it("that are missing cause an error that says what to set", async () => {
      await expect(open({ container: "recordings", prefix: "" }, {})).rejects.toMatchObject({
        code: "ERR_STORE_DENIED",
        message: expect.stringContaining("AZURE_STORAGE_ACCOUNT"),
      })
      await expect(open(url, {})).rejects.toMatchObject({
        code: "ERR_STORE_DENIED",
        message: expect.stringContaining("AZURE_STORAGE_KEY"),
      })
    })

    it("are not shown when the connection string is invalid", async () => {
      const strings: [string, RegExp][] = [
        [azurite.key, /not a connection string/],
        [`AccountName=x;AccountKey=${azurite.key}`, /BlobEndpoint is missing/],
        [
          `DefaultEndpointsProtocol=ftp;AccountName=x;AccountKey=${azurite.key};EndpointSuffix=y`,
          /DefaultEndpointsProtocol is missing/,
        ],
        [
          `DefaultEndpointsProtocol=https;AccountKey=${azurite.key};EndpointSuffix=core.windows.net`,
          /AccountName is missing/,
        ],
        [
          "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=;EndpointSuffix=core.windows.net",
          /AccountKey is missing/,
        ],
        [`BlobEndpoint=${azurite.url};SharedAccessSignature=`, /SharedAccessSignature is missing/],
      ]
      for (const [text, reason] of strings) {
        const error = await open(url, { AZURE_STORAGE_CONNECTION_STRING: text }).then(
          () => expect.unreachable(),
          (thrown) => thrown,
        )
        expect(error).toMatchObject({ code: "ERR_STORE_DENIED", message: expect.stringMatching(reason) })
        for (const secret of secrets())
          expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(secret)
      }
    })

    it("are in no error, however it is printed", async () => {
      const sas = accountSas(azurite)
      const signature = new URLSearchParams(sas).get("sig")!
      const wrong = sas.replace(
        /sig=[^&]+/,
        `sig=${encodeURIComponent(Buffer.alloc(32, 7).toString("base64"))}`,
      )
      const wrongSignature = new URLSearchParams(wrong).get("sig")!
      const nowhere = `http://127.0.0.1:${await unusedPort()}/${azurite.account}`
      const stores = [
        await open(url, { AZURE_STORAGE_SAS_TOKEN: wrong }),
        await open({ ...url, endpoint: nowhere }, { AZURE_STORAGE_SAS_TOKEN: sas }),
        await open({ ...url, endpoint: nowhere }, env),
        await open({ ...url, container: "no-such-container" }, { AZURE_STORAGE_SAS_TOKEN: sas }),
        await open({ ...url, container: "no-such-container" }, env),
      ]
      for (const broken of stores)
        for (const call of everyCall(broken)) {
          const error = await call().then(
            () => expect.unreachable(),
            (thrown) => thrown,
          )
          const shown = [inspect(error, { depth: 10, showHidden: true }), ...textsIn(error)].join("\n")
          for (const secret of [signature, wrongSignature, ...secrets()])
            for (const form of [secret, encodeURIComponent(secret)]) expect(shown).not.toContain(form)
          expect(shown).not.toMatch(/SharedKey /)
        }
    })
  })
})
