import fc from "fast-check"
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
import { withRetries } from "./retry.ts"

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
    ["less than 4 KiB a second is not progress, however many bytes came", 1_001, false],
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
