/** What can be read, and of which version. */

import { setTimeout as sleep } from "node:timers/promises"
import { crc32 } from "node:zlib"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import { beforeAll, describe, expect, it } from "vitest"
import { drain, expectSameBytes, MIB, never, readAll, sampleBytes, write } from "./bytes.ts"
import type { StoreUnderTest } from "./store-under-test.ts"

export function describeReads(given: () => StoreUnderTest): void {
  let under: StoreUnderTest
  let store: ArchiveStore
  let part: number
  beforeAll(() => {
    under = given()
    store = given().store
    part = given().minimumPartSize
  })

  describe("stat", () => {
    it("is null for a key without an object", async () => {
      expect(await store.stat("stat/absent.ts", never)).toBeNull()
    })

    it("gives size, version and metadata of an object", async () => {
      const bytes = sampleBytes("stat", 752)
      await under.put("stat/present.ts", bytes)
      const object = await store.stat("stat/present.ts", never)
      expect(object).toMatchObject({ key: "stat/present.ts", size: 752, metadata: {} })
      expect(object?.etag).toMatch(/^[\x21-\x7e]+$/)
      expect((await store.stat("stat/present.ts", never))?.etag).toBe(object?.etag)
    })

    it("gives another version after the object was replaced by one of the same size", async () => {
      await under.put("stat/replaced.ts", sampleBytes("one", 752))
      const before = await store.stat("stat/replaced.ts", never)
      await under.put("stat/replaced.ts", sampleBytes("two", 752))
      expect((await store.stat("stat/replaced.ts", never))?.etag).not.toBe(before?.etag)
    })

    it("finds an empty object", async () => {
      await under.put("stat/empty.ts", new Uint8Array(0))
      expect(await store.stat("stat/empty.ts", never)).toMatchObject({ size: 0 })
    })

    it("does not take the beginning of a key for a key", async () => {
      await under.put("stat/folder/archive.ts", sampleBytes("folder", 16))
      expect(await store.stat("stat/folder", never)).toBeNull()
    })
  })

  describe("open", () => {
    const key = "open/archive.ts"
    let bytes: Uint8Array

    beforeAll(async () => {
      bytes = sampleBytes("open", part + 752)
      await under.put(key, bytes)
    })

    it("is null for a key without an object", async () => {
      expect(await store.open("open/absent.ts", 16, never)).toBeNull()
    })

    it("finds what stat finds, and gives the first bytes, at every boundary", async () => {
      const object = await store.stat(key, never)
      const { size } = object!
      for (const length of [1, 15, 16, 17, part - 1, part, part + 1, size - 1, size, size + 1, 2 * size]) {
        const opened = (await store.open(key, length, never))!
        expect(opened.object).toEqual(object)
        expectSameBytes(await drain(opened.head), bytes.subarray(0, length))
      }
    })

    it("gives the metadata of an object", async () => {
      const metadata = { "unseal-source-etag": "x", note: "a b" }
      await write(store, "open/metadata.ts", bytes.subarray(0, 752), { metadata })
      const opened = (await store.open("open/metadata.ts", 16, never))!
      expect(opened.object).toEqual(await store.stat("open/metadata.ts", never))
      expect(opened.object.metadata).toEqual(metadata)
      opened.close()
    })

    it("finds an empty object, and gives no bytes of it", async () => {
      await under.put("open/empty.ts", new Uint8Array(0))
      const opened = (await store.open("open/empty.ts", 16, never))!
      expect(opened.object).toEqual(await store.stat("open/empty.ts", never))
      expect(await drain(opened.head)).toHaveLength(0)
      opened.close()
    })

    it("leaves a chunk as it is until the next is requested, however long that takes", async () => {
      const { head } = (await store.open(key, part, never))!
      let at = 0
      for await (const chunk of head) {
        const sum = crc32(chunk)
        if (at === 0) await sleep(300)
        expect(crc32(chunk)).toBe(sum)
        expectSameBytes(chunk, bytes.subarray(at, at + chunk.length))
        at += chunk.length
      }
      expect(at).toBe(part)
    })

    it("gives only bytes of the version that it found, however late they are read", async () => {
      const old = sampleBytes("open old", 16 * MIB)
      await under.put("open/late.ts", old)
      const { object, head } = (await store.open("open/late.ts", old.length, never))!
      await under.put("open/late.ts", sampleBytes("open new", 16 * MIB))
      await sleep(300)
      let at = 0
      try {
        for await (const chunk of head) {
          expectSameBytes(chunk, old.subarray(at, at + chunk.length))
          at += chunk.length
        }
        expect(at).toBe(old.length)
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_OBJECT_CHANGED" })
      }
      expect((await store.stat("open/late.ts", never))?.etag).not.toBe(object.etag)
    })

    it("releases the connection of a head that is not needed, or left early, every time", async () => {
      for (let round = 0; round < 150; round++) {
        const opened = (await store.open(key, part, never))!
        opened.close()
        const { head } = (await store.open(key, part, never))!
        for await (const chunk of head) {
          expect(chunk.length).toBeGreaterThan(0)
          break
        }
      }
      expectSameBytes(await readAll(store, key), bytes)
    })

    it("rejects with the reason of an abort, before and while the head is read", async () => {
      const reason = new Error("shutting down")
      await under.put("open/aborted.ts", sampleBytes("open aborted", 16 * MIB))
      for (const late of [false, true]) {
        const controller = new AbortController()
        const { head } = (await store.open("open/aborted.ts", 16 * MIB, controller.signal))!
        if (!late) controller.abort(reason)
        const reading = async () => {
          for await (const _ of head) controller.abort(reason)
        }
        await expect(reading()).rejects.toBe(reason)
      }
    })
  })

  describe("read", () => {
    const key = "read/archive.ts"
    let bytes: Uint8Array

    beforeAll(async () => {
      bytes = sampleBytes("read", part + 752)
      await under.put(key, bytes)
    })

    it("gives exactly the bytes of a range at every boundary", async () => {
      const size = bytes.length
      const points = [0, 1, 15, 16, 17, part - 16, part - 1, part, part + 1, part + 16, size - 1, size]
      for (const start of points)
        for (const end of points.filter((point) => point > start && (point - start < 100 || point === size)))
          expectSameBytes(await readAll(store, key, { start, end }), bytes.subarray(start, end))
    })

    it("gives the whole object", async () => {
      expectSameBytes(await readAll(store, key), bytes)
    })

    it("leaves a chunk as it is until the next is requested, however long that takes", async () => {
      const object = await store.stat(key, never)
      let at = 0
      for await (const chunk of store.read(object!, { start: 0, end: bytes.length }, never)) {
        const sum = crc32(chunk)
        if (at === 0) await sleep(300)
        expect(crc32(chunk)).toBe(sum)
        expectSameBytes(chunk, bytes.subarray(at, at + chunk.length))
        at += chunk.length
      }
      expect(at).toBe(bytes.length)
    })

    it("refuses an object that was replaced before the read", async () => {
      await under.put("read/replaced.ts", sampleBytes("old", 752))
      const object = await store.stat("read/replaced.ts", never)
      await under.put("read/replaced.ts", sampleBytes("new", 752))
      await expect(drain(store.read(object!, { start: 0, end: 752 }, never))).rejects.toMatchObject({
        code: "ERR_OBJECT_CHANGED",
      })
    })

    it("refuses an object that was replaced between two ranges", async () => {
      const old = sampleBytes("old range", 752)
      await under.put("read/between.ts", old)
      const object = await store.stat("read/between.ts", never)
      expectSameBytes(await drain(store.read(object!, { start: 0, end: 400 }, never)), old.subarray(0, 400))
      await under.put("read/between.ts", sampleBytes("new range", 7520))
      await expect(drain(store.read(object!, { start: 400, end: 752 }, never))).rejects.toMatchObject({
        code: "ERR_OBJECT_CHANGED",
      })
    })

    it("never mixes two versions when an object is replaced in the middle of a read", async () => {
      const old = sampleBytes("old middle", 16 * MIB)
      await under.put("read/middle.ts", old)
      const object = await store.stat("read/middle.ts", never)
      let at = 0
      try {
        for await (const chunk of store.read(object!, { start: 0, end: old.length }, never)) {
          if (at === 0) await under.put("read/middle.ts", sampleBytes("new middle", 16 * MIB))
          expectSameBytes(chunk, old.subarray(at, at + chunk.length))
          at += chunk.length
        }
        expect(at).toBe(old.length)
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_OBJECT_CHANGED" })
      }
    })

    it("reports a removed object", async () => {
      await under.put("read/removed.ts", sampleBytes("removed", 752))
      const object = await store.stat("read/removed.ts", never)
      await under.remove("read/removed.ts")
      await expect(drain(store.read(object!, { start: 0, end: 752 }, never))).rejects.toMatchObject({
        code: "ERR_OBJECT_NOT_FOUND",
      })
    })

    it("releases the connection of a loop that is left early, every time", async () => {
      const object = await store.stat(key, never)
      for (let round = 0; round < 300; round++)
        for await (const chunk of store.read(object!, { start: 0, end: bytes.length }, never)) {
          expect(chunk.length).toBeGreaterThan(0)
          break
        }
      expectSameBytes(await readAll(store, key), bytes)
    })

    it("rejects with the reason of an abort in the middle", async () => {
      const controller = new AbortController()
      const reason = new Error("shutting down")
      await under.put("read/aborted.ts", sampleBytes("aborted", 16 * MIB))
      const object = await store.stat("read/aborted.ts", never)
      const reading = async () => {
        for await (const _ of store.read(object!, { start: 0, end: 16 * MIB }, controller.signal))
          controller.abort(reason)
      }
      await expect(reading()).rejects.toBe(reason)
    })

    it("rejects with the reason of an abort while the consumer takes its time", async () => {
      const controller = new AbortController()
      const reason = new Error("shutting down slowly")
      await under.put("read/slowly.ts", sampleBytes("slowly", 16 * MIB))
      const object = await store.stat("read/slowly.ts", never)
      const chunks = store.read(object!, { start: 0, end: 16 * MIB }, controller.signal)
      const iterator = chunks[Symbol.asyncIterator]()
      await iterator.next()
      controller.abort(reason)
      await sleep(20)
      await expect(iterator.next()).rejects.toBe(reason)
    })
  })
}
