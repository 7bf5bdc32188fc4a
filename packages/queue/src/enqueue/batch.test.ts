import { setImmediate as turn } from "node:timers/promises"
import { expect, test } from "vitest"
import { batched } from "./batch.ts"

test("what is asked for in one turn is done together, and each gets its own result", async () => {
  const batches: (readonly number[])[] = []
  const double = batched<number, number>(async (items) => {
    batches.push(items)
    return items.map((item) => 2 * item)
  })
  expect(await Promise.all([1, 2, 3].map(double))).toEqual([2, 4, 6])
  expect(await double(4)).toBe(8)
  expect(batches).toEqual([[1, 2, 3], [4]])
})

test("many are done in several batches, in the order of asking", async () => {
  const seen: number[] = []
  const sizes: number[] = []
  const work = batched<number, number>(async (items) => {
    sizes.push(items.length)
    seen.push(...items)
    return items
  })
  const wanted = Array.from({ length: 150 }, (_, index) => index)
  const results = Promise.all(wanted.map(work))
  // What makes a batch full does not wait for the end of the turn.
  expect(sizes).toEqual([32, 32, 32, 32])
  expect(await results).toEqual(wanted)
  expect(seen).toEqual(wanted)
  expect(sizes).toEqual([32, 32, 32, 32, 22])
})

test("a failed batch rejects all of its calls, and no others", async () => {
  let failing = true
  const work = batched<string, string>(async (items) => {
    if (failing) throw new Error("away")
    return items
  })
  const both = Promise.allSettled([work("a"), work("b")])
  await turn()
  failing = false
  expect((await both).map(({ status }) => status)).toEqual(["rejected", "rejected"])
  expect(await work("c")).toBe("c")
})
