import { crc32 } from "node:zlib"
import type { WrittenPart } from "@unseal/archive/store/contract"
import { describe, expect, it } from "vitest"
import { expectSameBytes, readAll, sampleBytes, write, writePart, writeParts } from "../suite/bytes.ts"
import { asOpened, server, store } from "../suite/s3-server.ts"
import { never, open, PART, PLAIN, SOON } from "../suite/s3-store.ts"

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
    const parts = new Map<number, WrittenPart>([1, 2].map((number) => [number, { size: PART, tag: "none" }]))
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
