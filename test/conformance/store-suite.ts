/**
 * One suite for every adapter, on a real server. It verifies `store/contract.ts`, sentence by sentence. It runs on the bare
 * adapter without retries, so that an adapter that hides a failure can't pass.
 */
import { createCipheriv, createHash } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { crc32 } from "node:zlib"
import type { ArchiveStore, CreateOptions, PartWriter, WrittenPart } from "@unseal/archive/store/contract"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { discardForgotten } from "../../packages/archive/src/decrypt/resume.ts"

export interface StoreUnderTest {
  /** Opened with `minimumPartSize` as its preferred part size. */
  readonly store: ArchiveStore
  /** A new instance on the same bucket, container or directory, like another process's. */
  reopen(): Promise<ArchiveStore>
  /** Stores or replaces an object without the adapter. */
  put(key: string, bytes: Uint8Array, metadata?: Readonly<Record<string, string>>): Promise<void>
  /** The visible content of `key`, read without the adapter. */
  get(key: string): Promise<Uint8Array | null>
  remove(key: string): Promise<void>
  openUploadCount(): Promise<number>
  /** A multiple of 752. */
  readonly minimumPartSize: number
  /** A store whose bucket, container or directory does not exist. */
  readonly missing: ArchiveStore
  /** A store whose credentials or permissions are refused. */
  readonly denied?: ArchiveStore | undefined
  /** A store at an address where nothing listens. */
  readonly unreachable?: ArchiveStore | undefined
  close(): Promise<void>
}

const MIB = 1024 * 1024
const never = new AbortController().signal
const PLAIN: CreateOptions = { contentType: "video/mp2t", metadata: {}, existing: "fail" }

/** Random-looking bytes that depend only on `seed`, so that a mix of two contents, or a shift, shows. */
export function sampleBytes(seed: string, size: number): Uint8Array {
  const key = createHash("sha256").update(seed).digest()
  return createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(size))
}

/** Pieces of odd sizes, as a decryption makes them. */
export function inPieces(bytes: Uint8Array, pieceSize = 100_003): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += pieceSize) pieces.push(bytes.subarray(at, at + pieceSize))
  return pieces
}

const partOf = (bytes: Uint8Array, number: number, partSize: number): Uint8Array =>
  bytes.subarray((number - 1) * partSize, number * partSize)

const numbersOf = (size: number, partSize: number): number[] =>
  Array.from({ length: Math.ceil(size / partSize) }, (_, index) => index + 1)

export function writePart(writer: PartWriter, bytes: Uint8Array, number: number, signal = never) {
  const body = partOf(bytes, number, writer.partSize)
  return writer.writePart(number, inPieces(body), crc32(body), signal)
}

export async function writeParts(writer: PartWriter, bytes: Uint8Array): Promise<Map<number, WrittenPart>> {
  const parts = new Map<number, WrittenPart>()
  for (const number of numbersOf(bytes.length, writer.partSize))
    parts.set(number, await writePart(writer, bytes, number))
  return parts
}

/** Writes a whole object through the adapter. */
export async function write(
  store: ArchiveStore,
  key: string,
  bytes: Uint8Array,
  options: Partial<CreateOptions> = {},
) {
  const writer = await store.create(key, bytes.length, { ...PLAIN, ...options }, never)
  return writer.complete(await writeParts(writer, bytes), never)
}

export async function readAll(
  store: ArchiveStore,
  key: string,
  range?: { start: number; end: number },
): Promise<Uint8Array> {
  const object = await store.stat(key, never)
  if (!object) throw new Error(`no object ${key}`)
  const chunks: Uint8Array[] = []
  for await (const chunk of store.read(object, range ?? { start: 0, end: object.size }, never))
    chunks.push(Uint8Array.from(chunk))
  return Buffer.concat(chunks)
}

export async function drain(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = []
  for await (const chunk of chunks) all.push(Uint8Array.from(chunk))
  return Buffer.concat(all)
}

/** Unlike `toEqual`, takes no seconds for a part and does not print it. */
export function expectSameBytes(actual: Uint8Array | null, expected: Uint8Array): void {
  expect(actual?.length).toBe(expected.length)
  expect(Buffer.compare(actual!, expected)).toBe(0)
}

/**
 * `lacks` names what a kind of store does not have: credentials to refuse, a network to be cut off from, or a commit that only one
 * of two writers of different objects can win.
 */
export function describeStore(
  name: string,
  setup: () => Promise<StoreUnderTest>,
  lacks: readonly ("denied" | "unreachable" | "conditional commit")[] = [],
): void {
  describe(name, () => {
    let under: StoreUnderTest
    let store: ArchiveStore
    let part: number

    beforeAll(async () => {
      under = await setup()
      store = under.store
      part = under.minimumPartSize
    })
    afterEach(async () => {
      expect(await under.openUploadCount()).toBe(0)
    })
    afterAll(() => under?.close())

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
          for (const end of points.filter(
            (point) => point > start && (point - start < 100 || point === size),
          ))
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

      it("are none when everything is complete or aborted", async () => {
        for await (const upload of store.openUploads(never)) expect(upload).toBeUndefined()
      })
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
  })
}
