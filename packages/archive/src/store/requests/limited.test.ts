import { setTimeout as sleep } from "node:timers/promises"
import { describe, expect, it } from "vitest"
import { UnsealError } from "../../errors.ts"
import type { ArchiveStore, PartWriter, StoredObject } from "../contract.ts"
import { RequestLimit } from "./limit.ts"
import { withRequestLimit } from "./limited.ts"
import { withRetries } from "./retry.ts"

const never = new AbortController().signal
const options = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
const object: StoredObject = { key: "a", size: 40, etag: "1", metadata: {} }
const range = { start: 0, end: 40 }
const fast = { baseMs: 1, maxMs: 4, growMs: 5, liftMs: 60_000, patienceMs: 20_000 }

const busy = (retryAfterMs?: number) => new UnsealError("ERR_STORE_BUSY", "503 SlowDown", { retryAfterMs })

/** A store that refuses a request while `most` others are in progress. A body is in progress until it is read or abandoned. */
function slowStore(most: number, { workMs = 3, retryAfterMs = undefined as number | undefined } = {}) {
  const seen = { underWay: 0, largest: 0, refused: 0, accepted: 0, calls: [] as string[], most }
  function begin(call: string): void {
    seen.calls.push(call)
    if (seen.underWay >= seen.most) {
      seen.refused++
      throw busy(retryAfterMs)
    }
    seen.accepted++
    seen.underWay++
    seen.largest = Math.max(seen.largest, seen.underWay)
  }
  async function ask<Result>(call: string, result: Result): Promise<Result> {
    begin(call)
    await sleep(workMs)
    seen.underWay--
    return result
  }
  async function* body(size: number) {
    try {
      for (let at = 0; at < size; at += 10) {
        await sleep(1)
        yield new Uint8Array(Math.min(10, size - at))
      }
    } finally {
      seen.underWay--
    }
  }
  const writer: PartWriter = {
    ...{ token: "t", resumable: true, keepsBodies: false, partSize: 16 },
    written: () => ask("written", new Map()),
    writePart: (number) => ask("writePart", { size: number, tag: "1" }),
    complete: () => ask("complete", object),
    abort: () => ask("abort", undefined),
  }
  const store: ArchiveStore = {
    location: "memory://",
    partSizeFor: () => 16,
    stat: () => ask("stat", object),
    async open(_, length) {
      begin("open")
      const head = body(length)
      const close = () => {
        // Stands for a closed connection: a generator that never began has no `finally` to run.
        seen.underWay--
      }
      return { object, head, close }
    },
    async *read(_, { start, end }) {
      begin("read")
      yield* body(end - start)
    },
    create: () => ask("create", writer),
    async *openUploads() {},
    abortUpload: () => ask("abortUpload", undefined),
    remove: () => ask("remove", undefined),
  }
  return { store, seen }
}

async function countBytes(pieces: AsyncIterable<Uint8Array>): Promise<number> {
  let size = 0
  for await (const piece of pieces) size += piece.length
  return size
}

/** Works like the pipeline: it holds a head while it looks at the destination. */
async function oneArchive(store: ArchiveStore): Promise<void> {
  const opened = await store.open("a", 20, never)
  await store.stat("b", never)
  expect(await countBytes(opened!.head)).toBe(20)
  const writer = await store.create("b", 40, options, never)
  await Promise.all([1, 2, 3].map((number) => writer.writePart(number, [], 0, never)))
  await writer.complete(new Map(), never)
}

describe("a store that takes everything", () => {
  it("has no limit", async () => {
    const { store, seen } = slowStore(1_000)
    const limit = new RequestLimit(fast)
    const limited = withRequestLimit(store, limit)
    await Promise.all(Array.from({ length: 50 }, () => limited.stat("a", never)))
    expect([seen.largest, limit.limit]).toEqual([50, Number.POSITIVE_INFINITY])
  })
})

describe("a store that refuses more than a few requests at a time", () => {
  for (const most of [1, 2, 3, 7])
    it(`gets everything done, with ${most} at a time and no failure counted`, async () => {
      const { store, seen } = slowStore(most)
      const limit = new RequestLimit(fast)
      const codes: string[] = []
      // The request layer gives up at the first failure here, so a refusal for rate must not count as one.
      const limited = withRetries(withRequestLimit(store, limit, { onRetry: (code) => codes.push(code) }), {
        attempts: 1,
      })
      await Promise.all(Array.from({ length: 20 }, () => oneArchive(limited)))
      expect(seen.underWay).toBe(0)
      expect(seen.largest).toBe(most)
      expect(codes).toHaveLength(seen.refused)
      expect(new Set(codes)).toEqual(new Set(["ERR_STORE_BUSY"]))
      expect(limit.limit).toBeLessThanOrEqual(2 * most + 1)
      // The limit settles: after the first collision only its growth is refused now and then.
      expect(seen.refused).toBeLessThan(seen.accepted)
    })

  it("gets more requests again when it takes more", async () => {
    const { store, seen } = slowStore(2)
    const limit = new RequestLimit(fast)
    const limited = withRequestLimit(store, limit)
    await Promise.all(Array.from({ length: 30 }, () => limited.stat("a", never)))
    expect(limit.limit).toBeLessThanOrEqual(5)
    seen.most = 1_000
    await Promise.all(Array.from({ length: 400 }, () => limited.stat("a", never)))
    expect(limit.limit).toBeGreaterThan(10)
  })

  it("has no limit again when nobody has had to wait for a while", async () => {
    const { store } = slowStore(2)
    const limit = new RequestLimit({ ...fast, liftMs: 50 })
    const limited = withRequestLimit(store, limit)
    await Promise.all(Array.from({ length: 10 }, () => limited.stat("a", never)))
    expect(limit.limit).toBeLessThan(10)
    await expect.poll(() => limit.limit).toBe(Number.POSITIVE_INFINITY)
  })

  it("is left alone for as long as it asks", async () => {
    const { store, seen } = slowStore(1, { retryAfterMs: 300 })
    const limited = withRequestLimit(store, new RequestLimit(fast))
    await Promise.all([limited.stat("a", never), limited.stat("a", never)])
    expect(seen.calls).toHaveLength(3)
    const early = limited.stat("a", never)
    await early
    seen.underWay = 1
    const refused = limited.stat("a", never)
    await expect.poll(() => seen.refused).toBe(2)
    seen.underWay = 0
    const another = limited.stat("a", never)
    await sleep(150)
    expect(seen.calls).toHaveLength(5)
    await Promise.all([refused, another])
    expect(seen.calls).toHaveLength(7)
  })

  it("gets a refused request again once per refusal, and a read without a byte twice", async () => {
    const { store, seen } = slowStore(0)
    const limited = withRequestLimit(store, new RequestLimit(fast))
    const reading = countBytes(limited.read(object, range, never))
    await expect.poll(() => seen.refused).toBeGreaterThan(1)
    seen.most = 1
    expect(await reading).toBe(40)
    expect(seen.calls).toHaveLength(seen.refused + 1)
  })
})

describe("a store that refuses everything", () => {
  it("is given up after a while by all waiting requests, and then at once by each new one", async () => {
    const { store, seen } = slowStore(0)
    const limit = new RequestLimit({ ...fast, patienceMs: 200 })
    const limited = withRequestLimit(store, limit)
    const all = await Promise.allSettled(Array.from({ length: 10 }, () => limited.stat("a", never)))
    expect(all.map((one) => one.status === "rejected" && one.reason.code)).toEqual(
      Array(10).fill("ERR_STORE_BUSY"),
    )
    const reasons = all.map((one) => (one.status === "rejected" ? one.reason : undefined))
    expect(new Set(reasons).size).toBe(10)
    const before = seen.refused
    await expect(limited.stat("a", never)).rejects.toMatchObject({ code: "ERR_STORE_BUSY" })
    expect(seen.refused).toBe(before + 1)
    seen.most = 1
    await limited.stat("a", never)
    seen.most = 0
    const again = limited.stat("a", never)
    await expect.poll(() => seen.refused).toBeGreaterThan(before + 2)
    seen.most = 1
    await again
  })

  it("is given up at once if it asks for a longer pause than that", async () => {
    const { store, seen } = slowStore(0, { retryAfterMs: 3_600_000 })
    const limited = withRequestLimit(store, new RequestLimit(fast))
    await expect(limited.stat("a", never)).rejects.toMatchObject({ retryAfterMs: 3_600_000 })
    expect(seen.refused).toBe(1)
  })
})

describe("a wait for a turn", () => {
  it("ends with the reason of an abort, even an earlier one", async () => {
    const { store, seen } = slowStore(0)
    const limited = withRequestLimit(store, new RequestLimit(fast))
    const controller = new AbortController()
    const reason = new Error("shutting down")
    const first = limited.stat("a", controller.signal)
    const waiting = [1, 2].map(() => countBytes(limited.read(object, range, controller.signal)))
    const expectations = [first, ...waiting].map((one) => expect(one).rejects.toBe(reason))
    await expect.poll(() => seen.refused).toBeGreaterThan(1)
    controller.abort(reason)
    await Promise.all(expectations)
    await expect(limited.stat("a", controller.signal)).rejects.toBe(reason)
    seen.most = 1
    await limited.stat("a", never)
    expect(seen.underWay).toBe(0)
  })
})

describe("a head that is held", () => {
  it("is released when its store refuses something, and requested again when it is read", async () => {
    const { store, seen } = slowStore(1)
    const limited = withRequestLimit(store, new RequestLimit(fast))
    const opened = await limited.open("a", 20, never)
    // The store counts the held head, so it could never answer this.
    await limited.stat("b", never)
    expect(seen.underWay).toBe(0)
    expect(await countBytes(opened!.head)).toBe(20)
    expect(seen.calls.at(-1)).toBe("read")
    opened!.close()
    expect(seen.underWay).toBe(0)
  })

  it("is released after a while, so that another store of the same server can go on", async () => {
    const { store, seen } = slowStore(1)
    const [source, destination] = [1, 2].map(() =>
      withRequestLimit(store, new RequestLimit(fast), { holdMs: 50 }),
    )
    const opened = await source!.open("a", 20, never)
    await destination!.stat("b", never)
    expect(await countBytes(opened!.head)).toBe(20)
    expect(seen.underWay).toBe(0)
  })

  it("is otherwise read in place, and in flight until its end", async () => {
    const { store, seen } = slowStore(10)
    const limit = new RequestLimit(fast)
    const limited = withRequestLimit(store, limit)
    const [read, closed, left] = await Promise.all([1, 2, 3].map(() => limited.open("a", 20, never)))
    expect(await countBytes(read!.head)).toBe(20)
    closed!.close()
    for await (const _ of left!.head) break
    expect([seen.calls, seen.underWay]).toEqual([["open", "open", "open"], 0])
    // Each has left the requests in flight once: the first refusal halves none.
    seen.most = 0
    const refused = limited.stat("a", never)
    await expect.poll(() => seen.refused).toBe(1)
    expect(limit.limit).toBe(1)
    seen.most = 10
    await refused
  })
})
