import type { CreateOptions } from "@unseal/archive/store/contract"
import { describe, expect, it } from "vitest"
import type { Exchange, ProxiedResponse } from "../../harness/network/faulty-proxy.ts"
import { accountSas } from "../../harness/stores/azure-rest.ts"
import { open, PART } from "../suite/azure-store.ts"
import { azurite, bytes, env, proxied, proxy, raw, store, url } from "../suite/azurite-container.ts"
import { drain, expectSameBytes, never, sampleBytes, write, writePart, writeParts } from "../suite/bytes.ts"

const plain = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const

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

describe("a blob in the archive tier", () => {
  it("is recognised by a look, can't be read, and comes back when it is asked for", async () => {
    await raw.put("some/prefix/archived.ts", bytes.subarray(0, 752))
    await raw.setTier("some/prefix/archived.ts", "Archive")
    const object = (await store.stat("archived.ts", never))!
    expect(object.archival).toEqual({ storageClass: "Archive", isRestoring: false })
    const code = "ERR_OBJECT_ARCHIVED"
    await expect(store.open("archived.ts", 16, never)).rejects.toThrow(expect.objectContaining({ code }))
    expect(await store.restore!(object, { tier: "bulk", days: 7 }, never)).toBe("asked")
    const { archival: _, ...readable } = object
    expect(await store.stat("archived.ts", never)).toEqual(readable)
    expect(await store.restore!(object, { tier: "bulk", days: 7 }, never)).toBe("readable")
    expectSameBytes(await drain(store.read(object, { start: 0, end: 752 }, never)), bytes.subarray(0, 752))
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
      exchange.respond(await exchange.forward())
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
      exchange.respond(await exchange.forward())
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
  for await (const upload of store.openUploads(never)) if (upload.key.startsWith("list/")) listed.push(upload)
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
    ["503", (exchange) => exchange.respond(unavailable)],
    ["no answer", () => {}],
  ]
  for (const [name, respond] of answers) {
    it(`succeeds if it took effect: ${name}`, async () => {
      proxy.fault(async (exchange) => {
        const response = await exchange.forward()
        if (isCommit(exchange)) respond(exchange)
        else exchange.respond(response)
      })
      const key = `ambiguous/effect ${name}.ts`
      const object = await write(proxied, key, bytes, { metadata: { "unseal-source-etag": "ours" } })
      expect(object).toEqual(await store.stat(key, never))
      expectSameBytes((await raw.get(`some/prefix/${key}`))!.bytes, bytes)
    })

    it(`is unavailable if it did not take effect, and succeeds at the second call: ${name}`, async () => {
      proxy.fault(async (exchange) => {
        if (isCommit(exchange)) respond(exchange)
        else exchange.respond(await exchange.forward())
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
  const faults: [string, (response: ProxiedResponse, exchange: Exchange) => void][] = [
    ["200 instead of 206", (response, exchange) => exchange.respond({ ...response, status: 200 })],
    [
      "another Content-Range",
      (response, exchange) =>
        exchange.respond({
          ...response,
          headers: { ...response.headers, "content-range": `bytes 0-751/${bytes.length}` },
        }),
    ],
    [
      "another version's ETag",
      (response, exchange) =>
        exchange.respond({ ...response, headers: { ...response.headers, etag: '"0x1"' } }),
    ],
    [
      "fewer bytes, and a clean end",
      (response, exchange) => exchange.respond({ ...response, body: response.body.subarray(0, 400) }),
    ],
    [
      "fewer bytes, and a reset",
      (response, exchange) =>
        exchange.respond({ ...response, body: response.body.subarray(0, 400) }, response.body.length),
    ],
    ["no answer", () => {}],
    ["503", (_, exchange) => exchange.respond({ status: 503, headers: {}, body: Buffer.alloc(0) })],
    [
      "another server's 404",
      (_, exchange) => exchange.respond({ status: 404, headers: {}, body: Buffer.from("?") }),
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
    proxy.fault((exchange) => exchange.respond({ status: 404, headers: {}, body: Buffer.alloc(0) }))
    await expect(proxied.stat("absent.ts", never)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
  })
})

it("is refused by the store if a part was changed in transit", async () => {
  const writer = await proxied.create("faults/md5.ts", bytes.length, plain, never)
  proxy.fault(async (exchange) => {
    const body = Buffer.from(exchange.body)
    if (body.length > 0) body[body.length - 1]! ^= 1
    exchange.respond(await exchange.forward(body))
  })
  await expect(writePart(writer, bytes, 1)).rejects.toMatchObject({
    code: "ERR_STORE_UNAVAILABLE",
    message: expect.stringContaining("Md5Mismatch"),
  })
  expect((await writer.written(never)).size).toBe(0)
  await writer.abort()
})
