import { type AddressInfo, connect, createServer } from "node:net"
import { inspect } from "node:util"
import { crc32 } from "node:zlib"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { freePort } from "../../harness/network/free-port.ts"
import { expectSameBytes, readAll, sampleBytes, write } from "../suite/bytes.ts"
import { server, store } from "../suite/s3-server.ts"
import { never, open, PART, PLAIN, secretAccessKey } from "../suite/s3-store.ts"

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

  it("and another object is still distinguished from its own", async () => {
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
    const port = await freePort()
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
