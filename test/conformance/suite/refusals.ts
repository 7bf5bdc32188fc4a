/** Removals, aborts, and stores that refuse. */
import type { ArchiveStore } from "@unseal/archive/store/contract"
import { beforeAll, describe, expect, it } from "vitest"
import { drain, expectSameBytes, never, PLAIN, sampleBytes, write, writePart, writeParts } from "./bytes.ts"
import type { Lack, StoreUnderTest } from "./store-under-test.ts"

export function describeRefusals(given: () => StoreUnderTest, lacks: readonly Lack[]): void {
  let under: StoreUnderTest
  let store: ArchiveStore
  let part: number
  beforeAll(() => {
    under = given()
    store = given().store
    part = given().minimumPartSize
  })

  describe("remove", () => {
    it("removes the object and its metadata, and no other", async () => {
      const bytes = sampleBytes("removed", 752)
      const metadata = { "unseal-source-etag": "x" }
      await write(store, "remove/archive.ts", bytes, { metadata })
      await write(store, "remove/archive.ts.other", bytes, { metadata })
      await store.remove("remove/archive.ts", never)
      expect(await under.get("remove/archive.ts")).toBeNull()
      expect(await store.stat("remove/archive.ts", never)).toBeNull()
      expect(await store.stat("remove/archive.ts.other", never)).toMatchObject({ size: 752, metadata })

      await write(store, "remove/archive.ts", bytes)
      expect(await store.stat("remove/archive.ts", never)).toMatchObject({ metadata: {} })
    })

    it("succeeds for a key without an object", async () => {
      await store.remove("remove/absent.ts", never)
      await store.remove("remove/absent/below.ts", never)
    })

    it("leaves an upload to the same key alone", async () => {
      const bytes = sampleBytes("upload", 2 * part)
      const writer = await store.create("remove/upload.ts", bytes.length, PLAIN, never)
      const parts = new Map([[1, await writePart(writer, bytes, 1)]])
      await store.remove("remove/upload.ts", never)
      parts.set(2, await writePart(writer, bytes, 2))
      await writer.complete(parts, never)
      expectSameBytes(await under.get("remove/upload.ts"), bytes)
    })
  })

  describe("an aborted signal", () => {
    it("rejects every call with its reason", async () => {
      const reason = new Error("handed back")
      const gone = AbortSignal.abort(reason)
      const bytes = sampleBytes("signal", 2 * part)
      await under.put("signal/archive.ts", bytes)
      const object = await store.stat("signal/archive.ts", never)
      await expect(store.stat("signal/archive.ts", gone)).rejects.toBe(reason)
      await expect(store.open("signal/archive.ts", 16, gone)).rejects.toBe(reason)
      await expect(drain(store.read(object!, { start: 0, end: 16 }, gone))).rejects.toBe(reason)
      await expect(store.create("signal/new.ts", bytes.length, PLAIN, gone)).rejects.toBe(reason)
      await expect(store.remove("signal/archive.ts", gone)).rejects.toBe(reason)

      const writer = await store.create("signal/new.ts", bytes.length, PLAIN, never)
      await expect(writePart(writer, bytes, 1, gone)).rejects.toBe(reason)
      await expect(writer.written(gone)).rejects.toBe(reason)
      const parts = await writeParts(writer, bytes)
      await expect(writer.complete(parts, gone)).rejects.toBe(reason)
      expect(await under.get("signal/new.ts")).toBeNull()
      await writer.abort()
    })

    it("rejects a part that is being written", async () => {
      const controller = new AbortController()
      const reason = new Error("handed back meanwhile")
      const bytes = sampleBytes("meanwhile", 2 * part)
      const writer = await store.create("signal/meanwhile.ts", bytes.length, PLAIN, never)
      const writing = writePart(writer, bytes, 1, controller.signal)
      controller.abort(reason)
      await expect(writing).rejects.toBe(reason)
      await writer.abort()
    })
  })

  describe("a store that can't be used", () => {
    const object = { key: "any.ts", size: 16, etag: "any", metadata: {} }
    const calls: [string, (broken: ArchiveStore) => Promise<unknown>][] = [
      ["stat", (broken) => broken.stat("any.ts", never)],
      ["open", (broken) => broken.open("any.ts", 16, never)],
      ["read", (broken) => drain(broken.read(object, { start: 0, end: 16 }, never))],
      ["write", (broken) => write(broken, "any.ts", sampleBytes("any", 752))],
      ["write of several parts", (broken) => write(broken, "any.ts", sampleBytes("any", 2 * part))],
      ["open uploads", (broken) => Array.fromAsync(broken.openUploads(never))],
      ["remove", (broken) => broken.remove("any.ts", never)],
    ]
    for (const [call, run] of calls) {
      it(`is denied on ${call} if the bucket, container or directory does not exist`, async () => {
        const failure = run(under.missing)
        await expect(failure).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
        await expect(failure).rejects.toThrow(/does not exist/)
      })

      if (!lacks.includes("denied"))
        it(`is denied on ${call} if the credentials are refused`, async () => {
          await expect(run(under.denied!)).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
        })

      if (!lacks.includes("unreachable"))
        it(`is unavailable on ${call} if nothing listens`, async () => {
          await expect(run(under.unreachable!)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
        })
    }
  })
}
