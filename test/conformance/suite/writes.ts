/** Objects in one part and in many. */

import { crc32 } from "node:zlib"
import type { ArchiveStore, WrittenPart } from "@unseal/archive/store/contract"
import { beforeAll, describe, expect, it } from "vitest"
import {
  expectSameBytes,
  inPieces,
  never,
  numbersOf,
  PLAIN,
  partOf,
  readAll,
  sampleBytes,
  write,
  writePart,
  writeParts,
} from "./bytes.ts"
import type { StoreUnderTest } from "./store-under-test.ts"

export function describeWrites(given: () => StoreUnderTest): void {
  let under: StoreUnderTest
  let store: ArchiveStore
  let part: number
  beforeAll(() => {
    under = given()
    store = given().store
    part = given().minimumPartSize
  })

  describe("write", () => {
    const sizes: [string, (partSize: number) => number][] = [
      ["0", () => 0],
      ["16", () => 16],
      ["752", () => 752],
      ["one part - 16", (partSize) => partSize - 16],
      ["one part", (partSize) => partSize],
      ["one part + 16", (partSize) => partSize + 16],
      ["three parts + 752", (partSize) => 3 * partSize + 752],
    ]
    for (const [title, sizeOf] of sizes)
      it(`gives back what was written: ${title} bytes`, async () => {
        const size = sizeOf(part)
        const bytes = sampleBytes(title, size)
        const key = `write/${size}.ts`
        const object = await write(store, key, bytes)
        expect(object).toMatchObject({ key, size })
        expectSameBytes(await under.get(key), bytes)
        expect((await store.stat(key, never))?.etag).toBe(object.etag)
        if (size > 0) expectSameBytes(await readAll(store, key), bytes)
      })

    it("chooses a part size that is a multiple of 752", async () => {
      for (const size of [0, 752, part, 3 * part]) {
        const writer = await store.create("write/part-size.ts", size, PLAIN, never)
        expect(writer.partSize % 752).toBe(0)
        expect(writer.partSize).toBeGreaterThanOrEqual(part)
        expect(store.partSizeFor(size)).toBe(writer.partSize)
        await writer.abort()
      }
    })

    it("shows nothing under the key until it is complete", async () => {
      for (const size of [752, 2 * part]) {
        const key = `write/invisible-${size}.ts`
        const bytes = sampleBytes(key, size)
        const writer = await store.create(key, size, PLAIN, never)
        expect(await store.stat(key, never)).toBeNull()
        const parts = await writeParts(writer, bytes)
        expect(await store.stat(key, never)).toBeNull()
        expect(await under.get(key)).toBeNull()
        await writer.complete(parts, never)
        expectSameBytes(await under.get(key), bytes)
      }
    })

    it("accepts parts in any order, in parallel and repeatedly", async () => {
      const bytes = sampleBytes("any order", 4 * part - 32)
      const writer = await store.create("write/any-order.ts", bytes.length, PLAIN, never)
      await writePart(writer, sampleBytes("something else", bytes.length), 2)
      const parts = new Map<number, WrittenPart>()
      await Promise.all(
        [4, 3, 2, 1].map(async (number) => parts.set(number, await writePart(writer, bytes, number))),
      )
      await writer.complete(parts, never)
      expectSameBytes(await under.get("write/any-order.ts"), bytes)
    })

    it("knows which parts it holds, and its tag shows whether one was rewritten", async () => {
      const bytes = sampleBytes("held", 3 * part)
      const writer = await store.create("write/held.ts", bytes.length, PLAIN, never)
      expect((await writer.written(never)).size).toBe(0)
      const third = await writePart(writer, bytes, 3)
      const first = await writePart(writer, bytes, 1)
      expect(third.size).toBe(part)
      expect(third.tag).toMatch(/^[\x20-\x7e]+$/)
      expect([...(await writer.written(never))].sort(([a], [b]) => a - b)).toEqual([
        [1, first],
        [3, third],
      ])
      const other = await writePart(writer, sampleBytes("other", 3 * part), 3)
      expect(other.tag).not.toBe(third.tag)
      expect((await writer.written(never)).get(3)).toEqual(other)
      await writer.abort()
    })

    it("does not change the body of a part", async () => {
      for (const size of [752, part + 16]) {
        const key = `write/body-${size}.ts`
        const bytes = sampleBytes(key, size)
        const body = Buffer.from(bytes)
        const writer = await store.create(key, size, PLAIN, never)
        const parts = await writeParts(writer, body)
        await writer.complete(parts, never)
        expectSameBytes(body, bytes)
        expectSameBytes(await under.get(key), bytes)
      }
    })

    it.each([
      ["one part", 1],
      ["two parts", 2],
    ])("needs the body of a part no more once it is written, unless it says so: %s", async (_, count) => {
      const key = `write/reused-${count}.ts`
      const bytes = sampleBytes(key, count * part)
      const writer = await store.create(key, bytes.length, PLAIN, never)
      const memory = new Uint8Array(part)
      const parts = new Map<number, WrittenPart>()
      for (const number of numbersOf(bytes.length, part)) {
        const body = writer.keepsBodies ? new Uint8Array(part) : memory
        body.set(partOf(bytes, number, part))
        parts.set(number, await writer.writePart(number, [body], crc32(body), never))
      }
      memory.fill(0xdb)
      await writer.complete(parts, never)
      expectSameBytes(await under.get(key), bytes)
    })

    it("refuses a part whose checksum is wrong, and records nothing", async () => {
      const bytes = sampleBytes("checksum", 2 * part)
      const writer = await store.create("write/checksum.ts", bytes.length, PLAIN, never)
      const body = partOf(bytes, 1, writer.partSize)
      const wrong = (crc32(body) ^ 1) >>> 0
      await expect(writer.writePart(1, inPieces(body), wrong, never)).rejects.toMatchObject({
        code: "ERR_STORE_UNAVAILABLE",
      })
      expect((await writer.written(never)).size).toBe(0)
      await writer.abort()
    })

    it("refuses the only part with a wrong checksum before anything is visible", async () => {
      const body = sampleBytes("only checksum", 752)
      const wrong = (crc32(body) ^ 1) >>> 0
      const writer = await store.create("write/only-checksum.ts", body.length, PLAIN, never)
      const writing = async () => {
        const written = await writer.writePart(1, [body], wrong, never)
        await writer.complete(new Map([[1, written]]), never)
      }
      await expect(writing()).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
      expect(await under.get("write/only-checksum.ts")).toBeNull()
      await writer.abort()
    })

    it("refuses a part of the wrong length or number, and an object with a gap", async () => {
      const bytes = sampleBytes("gap", 3 * part)
      const writer = await store.create("write/gap.ts", bytes.length, PLAIN, never)
      const short = bytes.subarray(0, 16)
      await expect(writer.writePart(1, [short], crc32(short), never)).rejects.toThrow(RangeError)
      await expect(writer.writePart(4, [short], crc32(short), never)).rejects.toThrow(RangeError)
      await expect(writer.writePart(0, [short], crc32(short), never)).rejects.toThrow(RangeError)
      const parts = await writeParts(writer, bytes)
      parts.delete(2)
      await expect(writer.complete(parts, never)).rejects.toThrow(RangeError)
      expect(await store.stat("write/gap.ts", never)).toBeNull()
      await writer.abort()
    })

    it("keeps metadata as it was given", async () => {
      const metadata = {
        "unseal-source-etag": "9bb58f26192e4ba00f01e2e7b136bbd8-5",
        "unseal-source-size": "1073741824",
        note: 'printable, with spaces = & / + % " and quotes',
      }
      for (const size of [0, 752, part + 16]) {
        const key = `write/metadata-${size}.ts`
        const object = await write(store, key, sampleBytes(key, size), { metadata })
        expect(object.metadata).toEqual(metadata)
        expect((await (await under.reopen()).stat(key, never))?.metadata).toEqual(metadata)
      }
    })

    const keys = [
      "odd keys/with spaces and (brackets).ts",
      "odd keys/plus+plus.ts",
      "odd keys/percent %41 100%.ts",
      "odd keys/größe-文件-🎬.ts",
      "odd keys/a&b=c;d,e'f!g~h*i@j$k.ts",
      "46123/5a7c9f3e-0000-4000-8000-000000000001/archive.ts",
    ]
    it("takes keys with spaces, signs and any script literally", async () => {
      for (const key of keys) {
        const bytes = sampleBytes(key, 752)
        const object = await write(store, key, bytes)
        expect(object.key).toBe(key)
        expectSameBytes(await under.get(key), bytes)
        expectSameBytes(await readAll(store, key), bytes)
      }
      expect(await store.stat("odd keys/percent A 100%.ts", never)).toBeNull()
      expect(await store.stat("odd keys/plus plus.ts", never)).toBeNull()
    })

    it("accepts such keys for objects of several parts", async () => {
      for (const key of keys.slice(1, 5)) {
        const bytes = sampleBytes(key, part + 16)
        const several = key.replace("odd keys", "odd keys/several")
        await write(store, several, bytes)
        expectSameBytes(await under.get(several), bytes)
      }
    })
  })
}
