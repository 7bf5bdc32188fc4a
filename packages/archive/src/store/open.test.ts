import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { describe, expect, it } from "vitest"
import { poisoned } from "../../../../test/harness/poisoned.ts"
import { openStore } from "./open.ts"
import { copied } from "./small-object.ts"
import { StoreUrlError } from "./url.ts"

const never = new AbortController().signal

describe("openStore", () => {
  it("opens a directory for reading and writing", async () => {
    const directory = await mkdtemp(join(tmpdir(), "unseal-open-"))
    const store = poisoned(await openStore(`file://${directory}`, { env: {}, partSizeBytes: 1504 }))
    expect(store.location).toBe(`file://${directory}`)
    const bytes = Buffer.alloc(16, 7)
    const options = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
    const writer = await store.create("a.ts", 16, options, never)
    expect(writer.partSize).toBe(1504)
    const object = await writer.complete(
      new Map([[1, await writer.writePart(1, [bytes], crc32(bytes), never)]]),
      never,
    )
    expect(
      Buffer.concat(await Array.fromAsync(copied(store.read(object, { start: 0, end: 16 }, never)))),
    ).toEqual(bytes)
    await store.close()
    await rm(directory, { recursive: true })
  })

  it("reports each retry", async () => {
    const codes: string[] = []
    const url = "s3://bucket/prefix?endpoint=http://127.0.0.1:1&profile=nobody"
    const env = {
      AWS_SHARED_CREDENTIALS_FILE: "/nonexistent/credentials",
      AWS_CONFIG_FILE: "/nonexistent/config",
    }
    const store = await openStore(url, { env, onRetry: (code) => codes.push(code) })
    expect(store.location).toBe("s3://bucket/prefix")
    await expect(store.stat("a", never)).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
    expect(codes).toEqual([])
    await store.close()
  })

  it("refuses a URL that it can't use", async () => {
    await expect(openStore("s3://bucket?regoin=x", { env: {} })).rejects.toBeInstanceOf(StoreUrlError)
  })
})
