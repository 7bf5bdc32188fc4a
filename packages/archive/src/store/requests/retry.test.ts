import { crc32 } from "node:zlib"
import { describe, expect, it } from "vitest"
import {
  bytes,
  collect,
  type Fate,
  failure,
  fast,
  faultyStore,
  never,
  object,
} from "../../../../../test/harness/stores/faulty-store.ts"
import { UnsealError } from "../../errors.ts"
import type { ArchiveStore } from "../contract.ts"
import { withRetries } from "./retry.ts"

const options = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const

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

  it("is passed on at once when the peer was too slow: it would be as slow again", async () => {
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

  it("is passed on after the second silence in a row: a third would only hold its slot", async () => {
    const silent = new UnsealError("ERR_STORE_UNAVAILABLE", "planned", { silent: true })
    const store = faultyStore(bytes, [])
    store.stat = async () => {
      store.calls.push("stat")
      throw silent
    }
    let reads = 0
    store.read = async function* (_, { start }) {
      store.calls.push("read")
      // The first two make progress, so neither counts.
      if (++reads < 3) yield bytes.subarray(start, start + 50)
      throw silent
    }
    const retried = withRetries(store, { ...fast, progressBytes: 1, now: () => 0 })
    await expect(retried.stat("a", never)).rejects.toBe(silent)
    const read = retried.read(object, { start: 0, end: 200 }, never)
    await expect(collect(read)).rejects.toBe(silent)
    expect(store.calls).toEqual(["stat", "stat", "read", "read", "read"])
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
