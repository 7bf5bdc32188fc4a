import { describe, expect, it } from "vitest"
import { never } from "../../../../test/harness/runs/archive-run.ts"
import { createByteBudget } from "./budget.ts"

describe("a byte budget", () => {
  const KIB = 1024
  it("is granted in the order of requests, and small requests do not overtake a large one", async () => {
    const budget = createByteBudget(160 * KIB)
    const order: string[] = []
    const asked = async (bytes: number, name: string) => {
      const memory = await budget.acquire(bytes, never)
      order.push(name)
      return memory
    }
    const first = await budget.acquire(64 * KIB, never)
    const large = asked(128 * KIB, "large")
    const small = asked(16 * KIB, "small")
    await new Promise(setImmediate)
    expect(order).toEqual([])
    expect([budget.used, budget.waiting]).toEqual([64 * KIB, 2])
    first.release()
    first.release()
    ;(await large).release()
    ;(await small).release()
    expect(order).toEqual(["large", "small"])
    expect([budget.used, budget.waiting]).toEqual([0, 0])
    expect(budget.holders).toBe(0)
  })

  it("lends forfeited memory to nobody, and its share to the next request", async () => {
    const budget = createByteBudget(64 * KIB)
    const first = await budget.acquire(64 * KIB, never)
    const seen = first.bytes.fill(1)
    first.forfeit()
    first.release()
    const second = await budget.acquire(64 * KIB, never)
    second.bytes.fill(2)
    expect(seen.every((byte) => byte === 1)).toBe(true)
    second.release()
    expect((await budget.acquire(64 * KIB, never)).bytes[0]).toBe(2)
    expect(budget.holders).toBe(1)
  })

  it("grants a request above its limit alone, and forgets one that was aborted", async () => {
    const budget = createByteBudget(16 * KIB)
    const memory = await budget.acquire(100 * KIB, never)
    expect(memory.bytes.length).toBe(100 * KIB)
    const giveUp = new AbortController()
    const waiting = budget.acquire(1, giveUp.signal)
    giveUp.abort(new Error("enough"))
    await expect(waiting).rejects.toThrow("enough")
    memory.release()
    expect(budget.holders).toBe(0)
    ;(await budget.acquire(10, never)).release()
  })

  it("reuses memory, never twice at once, and lends none after it was given back", async () => {
    const budget = createByteBudget(4 * 1024 * KIB)
    const first = await budget.acquire(1000 * KIB, never)
    const second = await budget.acquire(1000 * KIB, never)
    const buffer = first.bytes.buffer
    expect(second.bytes.buffer).not.toBe(buffer)
    first.release()
    expect(() => first.bytes).toThrow("given back")
    const third = await budget.acquire(900 * KIB, never)
    expect(third.bytes.buffer).toBe(buffer)
    expect(third.bytes.length).toBe(900 * KIB)
  })

  it.each([
    ["parts", 1],
    ["parts with their ciphertext", 2],
  ])("of eight times 5 MiB holds eight %s that were rounded up to 752 bytes", async (_, copies) => {
    const size = copies * 5 * 1024 * KIB
    const rounded = copies * (5 * 1024 * KIB + 64)
    const budget = createByteBudget(8 * size)
    const asked = Array.from({ length: 8 }, () => budget.acquire(rounded, never))
    expect(budget.holders).toBe(8)
    const parts = await Promise.all(asked)
    expect(new Set(parts.map(({ bytes }) => bytes.buffer)).size).toBe(8)
    for (const { bytes } of parts) expect(bytes.length).toBe(rounded)
    const giveUp = new AbortController()
    const ninth = budget.acquire(1, giveUp.signal)
    expect(budget.holders).toBe(8)
    giveUp.abort(new Error("enough"))
    await expect(ninth).rejects.toThrow("enough")
  })

  it("reuses a slab for a part that was rounded up and for one that was not", async () => {
    const budget = createByteBudget(5 * 1024 * KIB)
    const buffers = new Set<ArrayBufferLike>()
    for (const size of [5 * 1024 * KIB, 5 * 1024 * KIB + 64, 5 * 1024 * KIB - 752]) {
      const memory = await budget.acquire(size, never)
      expect(memory.bytes.length).toBe(size)
      buffers.add(memory.bytes.buffer)
      memory.release()
    }
    expect(buffers.size).toBe(1)
  })

  it("holds no more memory than its limit and each slab's spare bytes, whatever sizes are requested", async () => {
    const limit = 4 * 1024 * KIB
    const budget = createByteBudget(limit)
    const buffers = new Set<ArrayBufferLike>()
    for (const mebibytes of [1, 2, 3, 4, 1, 3, 2]) {
      const memory = await budget.acquire(mebibytes * 1024 * KIB, never)
      buffers.add(memory.bytes.buffer)
      memory.release()
      // A discarded slab was detached, so its memory is gone at once.
      const held = [...buffers].filter((buffer) => buffer.byteLength > 0)
      const bytes = held.reduce((sum, buffer) => sum + buffer.byteLength, 0)
      expect(bytes).toBeLessThanOrEqual(limit + held.length * 2 * 752)
    }
  })
})
