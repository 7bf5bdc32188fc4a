/** An upload from its beginning to its end. */
import type { ArchiveStore } from "@unseal/archive/store/contract"
import { beforeAll, describe, expect, it } from "vitest"
import { discardForgotten } from "../../../packages/archive/src/decrypt/resume.ts"
import { expectSameBytes, never, PLAIN, sampleBytes, write, writePart, writeParts } from "./bytes.ts"
import type { Lack, StoreUnderTest } from "./store-under-test.ts"

export function describeUploads(given: () => StoreUnderTest, lacks: readonly Lack[]): void {
  let under: StoreUnderTest
  let store: ArchiveStore
  let part: number
  beforeAll(() => {
    under = given()
    store = given().store
    part = given().minimumPartSize
  })

  describe("resume", () => {
    it("continues by the token in another instance, with the parts already written", async () => {
      const bytes = sampleBytes("resume", 3 * part + 752)
      const writer = await store.create("resume/archive.ts", bytes.length, PLAIN, never)
      expect(writer.token).toMatch(/^[\x20-\x7e]+$/)
      const second = await writePart(writer, bytes, 2)
      const fourth = await writePart(writer, bytes, 4)

      const options = { ...PLAIN, token: writer.token }
      const resumed = await (await under.reopen()).create("resume/archive.ts", bytes.length, options, never)
      expect(resumed.token).toBe(writer.token)
      expect(resumed.partSize).toBe(writer.partSize)
      const parts = new Map(await resumed.written(never))
      expect(parts).toEqual(
        new Map([
          [2, second],
          [4, fourth],
        ]),
      )
      for (const number of [1, 3]) parts.set(number, await writePart(resumed, bytes, number))
      await resumed.complete(parts, never)
      expectSameBytes(await under.get("resume/archive.ts"), bytes)
    })

    it("starts a one-part object over if necessary, and ends the same", async () => {
      const bytes = sampleBytes("resume one", 752)
      const writer = await store.create("resume/one.ts", 752, PLAIN, never)
      await writePart(writer, bytes, 1)
      const options = { ...PLAIN, token: writer.token }
      const resumed = await (await under.reopen()).create("resume/one.ts", 752, options, never)
      const parts = new Map(await resumed.written(never))
      if (!parts.has(1)) parts.set(1, await writePart(resumed, bytes, 1))
      await resumed.complete(parts, never)
      expectSameBytes(await under.get("resume/one.ts"), bytes)
      await writer.abort()
      expectSameBytes(await under.get("resume/one.ts"), bytes)
    })

    it("reports that the upload of a token is gone", async () => {
      const bytes = sampleBytes("gone", 2 * part)
      const writer = await store.create("resume/gone.ts", bytes.length, PLAIN, never)
      await writePart(writer, bytes, 1)
      await writer.abort()
      const options = { ...PLAIN, token: writer.token }
      await expect(store.create("resume/gone.ts", bytes.length, options, never)).rejects.toMatchObject({
        code: "ERR_UPLOAD_GONE",
      })
    })

    it("reports the same for an invalid token", async () => {
      const options = { ...PLAIN, token: "not a token of this store" }
      await expect(store.create("resume/none.ts", 2 * part, options, never)).rejects.toMatchObject({
        code: "ERR_UPLOAD_GONE",
      })
    })
  })

  describe("complete", () => {
    const ours = { "unseal-source-etag": "ours" }
    const foreign = { "unseal-source-etag": "foreign" }

    it("treats a second call as done", async () => {
      for (const size of [0, 752, 2 * part]) {
        const key = `complete/twice-${size}.ts`
        const bytes = sampleBytes(key, size)
        const writer = await store.create(key, size, { ...PLAIN, metadata: ours }, never)
        const parts = await writeParts(writer, bytes)
        const object = await writer.complete(parts, never)
        expect(await writer.complete(parts, never)).toEqual(object)
        expectSameBytes(await under.get(key), bytes)
      }
    })

    it("with fail refuses to replace another object, and leaves it as it was", async () => {
      for (const size of [0, 752, 2 * part]) {
        const key = `complete/fail-${size}.ts`
        const other = sampleBytes("other", 1504)
        const before = await write(store, key, other, { metadata: foreign })
        const writer = await store.create(key, size, { ...PLAIN, metadata: ours }, never)
        const parts = await writeParts(writer, sampleBytes(key, size))
        await expect(writer.complete(parts, never)).rejects.toMatchObject({
          code: "ERR_DESTINATION_EXISTS",
        })
        await writer.abort()
        expectSameBytes(await under.get(key), other)
        expect(await store.stat(key, never)).toEqual(before)
      }
    })

    it("refuses an object that appeared while the parts were written", async () => {
      const bytes = sampleBytes("appeared", 2 * part)
      const writer = await store.create(
        "complete/appeared.ts",
        bytes.length,
        { ...PLAIN, metadata: ours },
        never,
      )
      const parts = await writeParts(writer, bytes)
      await under.put("complete/appeared.ts", sampleBytes("somebody", 752))
      await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_DESTINATION_EXISTS" })
      await writer.abort()
      expectSameBytes(await under.get("complete/appeared.ts"), sampleBytes("somebody", 752))
    })

    it("with replace replaces another object, whole and with its metadata", async () => {
      for (const size of [0, 752, 2 * part]) {
        const key = `complete/replace-${size}.ts`
        await write(store, key, sampleBytes("replaced", part + 16), { metadata: foreign })
        const bytes = sampleBytes(key, size)
        await write(store, key, bytes, { metadata: ours, existing: "replace" })
        expectSameBytes(await under.get(key), bytes)
        expect(await store.stat(key, never)).toMatchObject({ size, metadata: ours })
      }
    })

    it("lets two writers of the same object both succeed, with one content", async () => {
      for (const size of [752, part + 752]) {
        const key = `complete/both-${size}.ts`
        const bytes = sampleBytes(key, size)
        const objects = await Promise.all(
          [store, await under.reopen()].map(async (instance) => {
            const writer = await instance.create(key, size, { ...PLAIN, metadata: ours }, never)
            const object = await writer.complete(await writeParts(writer, bytes), never)
            await writer.abort()
            return object
          }),
        )
        expect(objects[0]).toEqual(objects[1])
        expectSameBytes(await under.get(key), bytes)
      }
    })

    const one = lacks.includes("conditional commit") ? "at least one" : "exactly one"
    it(`lets ${one} of two writers of different objects succeed, whole`, async () => {
      for (const size of [752, part + 752]) {
        const key = `complete/one-${size}.ts`
        const outcomes = await Promise.all(
          ["left", "right"].map(async (side) => {
            const bytes = sampleBytes(side, size)
            const options = { ...PLAIN, metadata: { "unseal-source-etag": side } }
            const writer = await (await under.reopen()).create(key, size, options, never)
            const parts = await writeParts(writer, bytes)
            try {
              await writer.complete(parts, never)
              return { bytes }
            } catch (error) {
              await writer.abort()
              return { error }
            }
          }),
        )
        const winners = outcomes.flatMap(({ bytes }) => bytes ?? [])
        const losers = outcomes.flatMap(({ error }) => error ?? [])
        expect(losers).toMatchObject(losers.map(() => ({ code: "ERR_DESTINATION_EXISTS" })))
        if (!lacks.includes("conditional commit")) expect(winners).toHaveLength(1)
        const visible = await under.get(key)
        expect(winners.some((bytes) => Buffer.compare(bytes, visible!) === 0)).toBe(true)
      }
    })
  })

  describe("abort", () => {
    it("leaves nothing, and may be called again", async () => {
      for (const size of [0, 752, 2 * part]) {
        const key = `abort/archive-${size}.ts`
        const writer = await store.create(key, size, PLAIN, never)
        await writeParts(writer, sampleBytes(key, size))
        await writer.abort()
        await writer.abort()
        expect(await store.stat(key, never)).toBeNull()
        expect(await under.openUploadCount()).toBe(0)
      }
    })

    it("leaves the completed object alone, and an earlier one", async () => {
      const bytes = sampleBytes("kept", 2 * part)
      const writer = await store.create("abort/kept.ts", bytes.length, PLAIN, never)
      await writer.complete(await writeParts(writer, bytes), never)
      await writer.abort()
      expectSameBytes(await under.get("abort/kept.ts"), bytes)

      const second = await store.create("abort/kept.ts", 3 * part, { ...PLAIN, existing: "replace" }, never)
      await writePart(second, sampleBytes("second", 3 * part), 1)
      await second.abort()
      expectSameBytes(await under.get("abort/kept.ts"), bytes)
    })
  })

  describe("open uploads", () => {
    it("are listed with key, token and time until they are aborted", async () => {
      const keys = ["open/a b+c.ts", "open/größe.ts", "open/plain.ts"]
      const tokens = new Map<string, string>()
      for (const key of keys) {
        const writer = await store.create(key, 2 * part, PLAIN, never)
        await writePart(writer, sampleBytes(key, 2 * part), 1)
        tokens.set(key, writer.token)
      }
      const other = await under.reopen()
      const listed = []
      for await (const upload of other.openUploads(never)) listed.push(upload)
      expect(listed.map(({ key }) => key).sort()).toEqual(keys.sort())
      for (const { key, token } of listed) expect(tokens.get(key)?.startsWith(token)).toBe(true)
      for (const { startedAt } of listed)
        expect(Math.abs(Date.now() - startedAt.getTime())).toBeLessThan(10 * 60_000)

      for (const upload of listed) await other.abortUpload(upload, never)
      expect(await under.openUploadCount()).toBe(0)
      for (const upload of listed) await other.abortUpload(upload, never)
      for (const key of keys) expect(await store.stat(key, never)).toBeNull()
    })

    it("can be limited to one key: not a longer one, nor one beside it", async () => {
      const keys = ["one/archive.ts", "one/archive.ts.old", "one/other.ts", "one.ts"]
      const writers = await Promise.all(
        keys.map(async (key) => {
          const writer = await store.create(key, 2 * part, PLAIN, never)
          await writePart(writer, sampleBytes(key, 2 * part), 1)
          return writer
        }),
      )
      const listed = await Array.fromAsync(store.openUploads(never, "one/archive.ts"))
      expect(listed.map(({ key }) => key)).toEqual(["one/archive.ts"])
      expect(writers[0]!.token.startsWith(listed[0]!.token)).toBe(true)
      expect(await Array.fromAsync(store.openUploads(never, "nowhere/archive.ts"))).toEqual([])
      for (const writer of writers) await writer.abort()
    })

    it("that nobody knows of are removed by their archive's next run, which continues its own", async () => {
      const key = "forgotten/archive.ts"
      const begin = async (key: string) => {
        const writer = await (await under.reopen()).create(key, 2 * part, PLAIN, never)
        await writePart(writer, sampleBytes(key, 2 * part), 1)
        return writer
      }
      const others = [await begin(`${key}.old`), await begin("forgotten/other.ts")]
      for (let run = 1; run <= 2; run++) await begin(key)
      const bytes = sampleBytes("own", 3 * part)
      const own = await store.create(key, bytes.length, PLAIN, never)
      await discardForgotten(store, key, own, { hasRivals: async () => false }, never)
      const left = await Array.fromAsync((await under.reopen()).openUploads(never, key))
      expect(left.filter(({ token }) => !own.token.startsWith(token))).toEqual([])

      await own.complete(await writeParts(own, bytes), never)
      expectSameBytes(await under.get(key), bytes)
      for (const other of others) {
        expect([...(await other.written(never)).keys()]).toEqual([1])
        await other.abort()
      }
    })

    it("are all gone when everything is complete or aborted", async () => {
      for await (const upload of store.openUploads(never)) expect(upload).toBeUndefined()
    })
  })
}
