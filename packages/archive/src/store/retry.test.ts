import { crc32 } from "node:zlib"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { poisoned } from "../../../../test/harness/poisoned.ts"
import { type ErrorCode, UnsealError } from "../errors.ts"
import type { ArchiveStore, PartWriter, StoredObject, WrittenPart } from "./contract.ts"
import { withRetries } from "./retry.ts"
import { copied } from "./small-object.ts"

const never = new AbortController().signal
const fast = { baseMs: 0, maxMs: 0 }
const failure = (code: ErrorCode = "ERR_STORE_UNAVAILABLE") => new UnsealError(code, "planned")

/** What one call does: succeed, fail at once, or (a read) fail after that many bytes. */
type Fate = "ok" | ErrorCode | { after: number }

interface FaultyStore extends ArchiveStore {
  /** One line for each call received. */
  readonly calls: string[]
}

/** A store of one object in memory. Its calls meet `fates` in turn, and succeed when those are used up. */
function faultyStore(bytes: Uint8Array, fates: Fate[]): FaultyStore {
  const calls: string[] = []
  const next = (call: string): Fate => {
    calls.push(call)
    const fate = fates.shift() ?? "ok"
    if (typeof fate === "string" && fate !== "ok") throw failure(fate)
    return fate
  }
  const object: StoredObject = { key: "a", size: bytes.length, etag: "1", metadata: {} }
  const parts = new Map<number, WrittenPart>()
  const writer: PartWriter = {
    token: "token",
    resumable: true,
    keepsBodies: false,
    partSize: 16,
    async written() {
      next("written")
      return parts
    },
    async writePart(number, body, sum) {
      next(`writePart ${number}`)
      const part = { size: body.reduce((size, chunk) => size + chunk.length, 0), tag: String(sum) }
      parts.set(number, part)
      return part
    },
    async complete() {
      next("complete")
      return object
    },
    async abort() {
      next("abort")
    },
  }
  async function* piecesTo(start: number, end: number, fate: Fate) {
    for (let at = start; at < end; at += 7) yield bytes.slice(at, Math.min(end, at + 7))
    if (typeof fate === "object") throw failure()
  }
  return poisoned({
    calls,
    location: "memory://",
    partSizeFor: () => 16,
    async stat() {
      next("stat")
      return object
    },
    async open(_, length) {
      const fate = next("open")
      const stop = typeof fate === "object" ? fate.after : length
      return { object, head: piecesTo(0, stop, fate), close: () => calls.push("close") }
    },
    async *read(_, { start, end }) {
      const fate = next(`read ${start}-${end}`)
      yield* piecesTo(start, typeof fate === "object" ? Math.min(end, start + fate.after) : end, fate)
    },
    async create() {
      next("create")
      return writer
    },
    async *openUploads() {
      next("openUploads")
      yield { key: "a", token: "token", startedAt: new Date(0) }
    },
    async remove() {
      next("remove")
    },
    async abortUpload() {
      next("abortUpload")
    },
  })
}

const bytes = Uint8Array.from({ length: 100 }, (_, index) => index)
const object: StoredObject = { key: "a", size: 100, etag: "1", metadata: {} }
const options = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return Buffer.concat(await Array.fromAsync(copied(chunks)))
}

describe("a request that fails", () => {
  const requests: [string, (store: ArchiveStore) => Promise<unknown>][] = [
    ["stat", (store) => store.stat("a", never)],
    ["open", (store) => store.open("a", 50, never)],
    ["create", (store) => store.create("a", 100, options, never)],
    ["remove", (store) => store.remove("a", never)],
    ["abortUpload", (store) => store.abortUpload({ key: "a", token: "t", startedAt: new Date(0) }, never)],
    ["read", (store) => collect(store.read(object, { start: 0, end: 100 }, never))],
  ]
  for (const [name, request] of requests) {
    it(`is repeated until it succeeds: ${name}`, async () => {
      const store = faultyStore(bytes, Array<Fate>(4).fill("ERR_STORE_UNAVAILABLE"))
      const codes: string[] = []
      await request(withRetries(store, { ...fast, onRetry: (code) => codes.push(code) }))
      expect(store.calls).toHaveLength(5)
      expect(codes).toEqual(Array(4).fill("ERR_STORE_UNAVAILABLE"))
    })

    it(`is passed on after the last attempt: ${name}`, async () => {
      const store = faultyStore(bytes, Array<Fate>(9).fill("ERR_STORE_UNAVAILABLE"))
      await expect(request(withRetries(store, { ...fast, attempts: 3 }))).rejects.toMatchObject({
        code: "ERR_STORE_UNAVAILABLE",
      })
      expect(store.calls).toHaveLength(3)
    })

    for (const code of [
      "ERR_STORE_BUSY",
      "ERR_STORE_DENIED",
      "ERR_OBJECT_NOT_FOUND",
      "ERR_OBJECT_CHANGED",
    ] as const)
      it(`is not repeated after ${code}: ${name}`, async () => {
        const store = faultyStore(bytes, [code])
        await expect(request(withRetries(store, fast))).rejects.toMatchObject({ code })
        expect(store.calls).toHaveLength(1)
      })
  }

  it("is passed on at once when the peer was too slow: it has had its minutes", async () => {
    const tooSlow = new UnsealError("ERR_STORE_UNAVAILABLE", "planned", { slow: true })
    const store = faultyStore(bytes, [])
    store.stat = async () => {
      store.calls.push("stat")
      throw tooSlow
    }
    store.read = async function* () {
      store.calls.push("read")
      yield bytes.subarray(0, 50)
      throw tooSlow
    }
    const retried = withRetries(store, { ...fast, progressBytes: 1 })
    await expect(retried.stat("a", never)).rejects.toBe(tooSlow)
    const read = retried.read(object, { start: 0, end: 100 }, never)
    await expect(collect(read)).rejects.toBe(tooSlow)
    expect(store.calls).toEqual(["stat", "read"])
  })

  const refusal = () => new UnsealError("ERR_STORE_DENIED", "403", { refused: true })
  /** Refuses access to `stat` as long as `refuses` says so, given the number of the call. */
  function refusing(refuses: (call: number) => boolean) {
    const store = faultyStore(bytes, [])
    store.stat = async () => {
      store.calls.push("stat")
      if (refuses(store.calls.length)) throw refusal()
      return object
    }
    return store
  }

  it("is repeated after a lone refusal of access: every seventh", async () => {
    const store = refusing((call) => call % 7 === 0)
    const codes: string[] = []
    const retried = withRetries(store, { ...fast, onRetry: (code) => codes.push(code) })
    for (let archive = 0; archive < 60; archive++) expect(await retried.stat("a", never)).toBe(object)
    expect(codes).toEqual(Array(9).fill("ERR_STORE_DENIED"))
  })

  it("is repeated when access was refused three times in a row, also while it is read", async () => {
    const store = refusing((call) => call <= 3)
    expect(await withRetries(store, fast).stat("a", never)).toBe(object)
    expect(store.calls).toHaveLength(4)
    const reading = faultyStore(bytes, [])
    const read = reading.read
    let asked = 0
    reading.read = (...parameters) => {
      if (++asked > 1) return read(...parameters)
      return (async function* () {
        yield bytes.subarray(0, 10)
        throw refusal()
      })()
    }
    const got = await collect(withRetries(reading, fast).read(object, { start: 0, end: 100 }, never))
    expect(got).toEqual(Buffer.from(bytes))
  })

  it("is not repeated while access stays refused, until one succeeds", async () => {
    let isRefused = true
    const store = refusing(() => isRefused)
    const retried = withRetries(store, fast)
    const ask = () => expect(retried.stat("a", never)).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
    await ask()
    expect(store.calls).toHaveLength(4)
    await ask()
    await ask()
    expect(store.calls).toHaveLength(6)
    isRefused = false
    await retried.stat("a", never)
    isRefused = true
    await ask()
    expect(store.calls).toHaveLength(11)
  })

  it("pauses before it is repeated after a refusal of access, and ends with the reason of an abort", async () => {
    const store = refusing(() => true)
    const controller = new AbortController()
    const reason = new Error("shutting down")
    const retried = withRetries(store, {
      ...{ baseMs: 3_600_000, maxMs: 3_600_000, random: () => 0 },
      onRetry: () => setImmediate(() => controller.abort(reason)),
    })
    await expect(retried.stat("a", controller.signal)).rejects.toBe(reason)
    expect(store.calls).toHaveLength(1)
  })

  it("of a writer is repeated", async () => {
    const store = faultyStore(bytes, ["ok", "ERR_STORE_UNAVAILABLE", "ok", "ERR_STORE_UNAVAILABLE", "ok"])
    const writer = await withRetries(store, fast).create("a", 100, options, never)
    expect(writer).toMatchObject({ token: "token", partSize: 16 })
    const body = [bytes.subarray(0, 9), bytes.subarray(9, 16)]
    expect(await writer.writePart(1, body, crc32(bytes.subarray(0, 16)), never)).toMatchObject({ size: 16 })
    expect(await writer.written(never)).toHaveProperty("size", 1)
    expect(await writer.complete(new Map(), never)).toEqual(object)
    expect(store.calls).toEqual(["create", "writePart 1", "writePart 1", "written", "written", "complete"])
  })

  it("is made at most twice for an abort", async () => {
    const store = faultyStore(bytes, ["ok", ...Array<Fate>(5).fill("ERR_STORE_UNAVAILABLE")])
    const writer = await withRetries(store, fast).create("a", 100, options, never)
    await expect(writer.abort()).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    expect(store.calls).toEqual(["create", "abort", "abort"])
  })

  it("is not repeated for a mistake of the caller", async () => {
    const store = faultyStore(bytes, [])
    store.stat = async () => {
      store.calls.push("stat")
      throw new RangeError("part 0")
    }
    await expect(withRetries(store, fast).stat("a", never)).rejects.toThrow(RangeError)
    expect(store.calls).toEqual(["stat"])
  })
})

describe("the pause", () => {
  it("is jittered over the whole of a limit that doubles up to the largest", async () => {
    const asked: number[] = []
    const store = faultyStore(bytes, Array<Fate>(6).fill("ERR_STORE_UNAVAILABLE"))
    const started = performance.now()
    const random = () => {
      asked.push(1)
      return 0.999
    }
    await withRetries(store, { attempts: 7, baseMs: 10, maxMs: 40, random }).stat("a", never)
    // 10 + 20 + 40 × 4, minus what the timer rounds off.
    expect(performance.now() - started).toBeGreaterThan(180)
    expect(asked).toHaveLength(6)
  })

  it("ends at once with the reason of an abort", async () => {
    const reason = new Error("shutting down")
    const controller = new AbortController()
    const store = faultyStore(bytes, Array<Fate>(4).fill("ERR_STORE_UNAVAILABLE"))
    const retried = withRetries(store, {
      baseMs: 3_600_000,
      maxMs: 3_600_000,
      random: () => 1,
      onRetry: () => setImmediate(() => controller.abort(reason)),
    })
    await expect(retried.stat("a", controller.signal)).rejects.toBe(reason)
    expect(store.calls).toEqual(["stat"])
  })

  it("does not begin after an abort", async () => {
    const reason = new Error("shut down")
    const controller = new AbortController()
    const store = faultyStore(bytes, [])
    store.stat = async () => {
      controller.abort(reason)
      throw failure()
    }
    const codes: string[] = []
    const retried = withRetries(store, { onRetry: (code) => codes.push(code) })
    await expect(retried.stat("a", controller.signal)).rejects.toBe(reason)
    expect(codes).toEqual([])
  })
})

describe("a read", () => {
  it("goes on after the last byte that it gave", async () => {
    const store = faultyStore(bytes, [{ after: 10 }, "ERR_STORE_UNAVAILABLE", { after: 0 }, { after: 50 }])
    const got = await collect(withRetries(store, fast).read(object, { start: 3, end: 90 }, never))
    expect(got).toEqual(Buffer.from(bytes.subarray(3, 90)))
    expect(store.calls).toEqual(["read 3-90", "read 13-90", "read 13-90", "read 13-90", "read 63-90"])
  })

  it("resets its count after enough bytes, but not after a few: a store that drips is given up", async () => {
    const dripping = faultyStore(bytes, Array<Fate>(99).fill({ after: 1 }))
    const read = withRetries(dripping, fast).read(object, { start: 0, end: 100 }, never)
    await expect(collect(read)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    expect(dripping.calls).toHaveLength(5)
    const store = faultyStore(bytes, Array<Fate>(99).fill({ after: 1 }))
    const retried = withRetries(store, { ...fast, attempts: 2, progressBytes: 1, now: () => 0 })
    expect(await collect(retried.read(object, { start: 0, end: 100 }, never))).toEqual(Buffer.from(bytes))
    expect(store.calls).toHaveLength(100)
  })

  it.each([
    ["4 KiB a second is progress", 999, true],
    ["less than 4 KiB a second is none, however many bytes came", 1_001, false],
  ])("that gives bytes before each failure: %s", async (_, msForEach, isProgress) => {
    // 4 KiB for each try, and `msForEach` until it fails.
    const size = 9 * 4_096
    const store = faultyStore(new Uint8Array(size), [])
    let now = 0
    let asked = 0
    store.read = async function* (_, { start, end }) {
      asked++
      if (start + 4_096 >= end) return yield new Uint8Array(end - start)
      yield new Uint8Array(4_096)
      now += msForEach
      throw failure()
    }
    const retried = withRetries(store, { ...fast, progressBytes: 4_096, now: () => now })
    const reading = (async () => {
      for await (const _ of retried.read({ ...object, size }, { start: 0, end: size }, never)) now += 60_000
    })()
    if (isProgress) await reading
    else await expect(reading).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    expect(asked).toBe(isProgress ? 9 : 5)
  })

  it("that fails after its last byte is complete, and not repeated", async () => {
    const store = faultyStore(bytes, [{ after: 100 }])
    await expect(
      collect(withRetries(store, fast).read(object, { start: 0, end: 100 }, never)),
    ).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    expect(store.calls).toEqual(["read 0-100"])
  })

  it("that is left early is not repeated, and releases the store's read", async () => {
    let released = 0
    const store = faultyStore(bytes, [])
    store.read = async function* () {
      try {
        yield bytes
      } finally {
        released++
      }
    }
    for await (const _ of withRetries(store, fast).read(object, { start: 0, end: 100 }, never)) break
    expect(released).toBe(1)
  })

  it("gives exactly the bytes, each once, whatever fails before the end", async () => {
    const fate = fc.oneof(
      fc.constant<Fate>("ERR_STORE_UNAVAILABLE"),
      fc.record({ after: fc.nat({ max: 60 }) }),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fate, { maxLength: 12 }),
        fc.nat({ max: 98 }),
        fc.nat({ max: 98 }),
        async (fates, a, b) => {
          const [start, end] = [Math.min(a, b), Math.max(a, b) + 1]
          const store = faultyStore(bytes, cutBefore(end - start, fates))
          const retried = withRetries(store, { ...fast, attempts: 13 })
          expect(await collect(retried.read(object, { start, end }, never))).toEqual(
            Buffer.from(bytes.subarray(start, end)),
          )
        },
      ),
    )
  })

  /** The faults before the last byte. A failure after it is another test's subject. */
  function cutBefore(size: number, fates: readonly Fate[]): Fate[] {
    let left = size
    return fates.filter((fate) => {
      if (typeof fate !== "object") return true
      if (fate.after >= left) return false
      left -= fate.after
      return true
    })
  }
})
