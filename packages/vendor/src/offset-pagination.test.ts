import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { listByOffset } from "./offset-pagination.ts"

/** A list, newest first, that changes after each page read. */
function shiftingList(size: number, changes: readonly { added: number; removed: readonly number[] }[]) {
  let next = 0
  let items = Array.from({ length: size }, () => `item ${next++}`).reverse()
  const present = new Set(items)
  const pages: number[] = []
  let read = 0
  return {
    /** The items that are in the list from beginning to end. */
    present,
    /** The offsets requested. */
    pages,
    get items() {
      return items
    },
    async fetchPage(offset: number, count: number, limit = Number.POSITIVE_INFINITY) {
      pages.push(offset)
      const page = items.slice(offset, offset + Math.min(count, limit))
      const change = changes[read++]
      for (const index of change?.removed ?? []) {
        const [gone] = items.splice(index % Math.max(1, items.length), 1)
        if (gone !== undefined) present.delete(gone)
      }
      for (let i = 0; i < (change?.added ?? 0); i++) items = [`item ${next++}`, ...items]
      return page
    },
  }
}

it("ends when the list claims to go on, but repeats one page for ever", async () => {
  const items = Array.from({ length: 10 }, (_, index) => `item ${index}`)
  const read: string[] = []
  const reading = async () => {
    const fetchPage = async () => items
    for await (const item of listByOffset({ pageSize: 10, overlap: 2, fetchPage, idOf: String }))
      read.push(item)
  }
  await expect(reading()).rejects.toMatchObject({
    code: "ERR_STORE_UNAVAILABLE",
    message: expect.stringMatching(/^the vendor's list does not advance: 20 pages in a row hold nothing new/),
  })
  expect(read).toEqual(items)
})

const readAll = (
  list: ReturnType<typeof shiftingList>,
  pageSize: number,
  overlap: number,
  limit?: number,
): Promise<string[]> =>
  Array.fromAsync(
    listByOffset({
      pageSize,
      overlap,
      fetchPage: (offset, count) => list.fetchPage(offset, count, limit),
      idOf: (item) => item,
    }),
  )

const change = fc.record({
  added: fc.nat(12),
  removed: fc.array(fc.nat(200), { maxLength: 20 }),
})

describe("a list that is read by offsets", () => {
  it("is complete, in order and without repetition while nothing changes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(60),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(12),
        fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }),
        async (size, pageSize, overlap, limit) => {
          const list = shiftingList(size, [])
          expect(await readAll(list, pageSize, overlap, limit)).toEqual(list.items)
        },
      ),
    )
  })

  it("yields everything that is there all the time, once, however it shifts", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(120),
        fc.integer({ min: 2, max: 25 }),
        fc.integer({ min: 1, max: 12 }),
        fc.array(change, { maxLength: 40 }),
        async (size, pageSize, overlap, changes) => {
          const list = shiftingList(size, changes)
          const given = await readAll(list, pageSize, overlap)
          expect(new Set(given).size).toBe(given.length)
          expect([...list.present].filter((item) => !given.includes(item))).toEqual([])
        },
      ),
      { numRuns: 500 },
    )
  })

  it("misses what deletions move past the offset if nothing overlaps", async () => {
    const list = shiftingList(20, [{ added: 0, removed: [0, 0] }])
    const given = await readAll(list, 10, 0)
    expect([...list.present].filter((item) => !given.includes(item))).toHaveLength(2)
  })

  it("is not read further than it is consumed", async () => {
    const list = shiftingList(100, [])
    const { fetchPage } = list
    const options = { pageSize: 10, overlap: 2, fetchPage, idOf: (item: string) => item }
    for await (const item of listByOffset(options)) if (item === "item 95") break
    expect(list.pages).toEqual([0])
  })

  it("costs one page more than its length requires", async () => {
    const list = shiftingList(2_000, [])
    await readAll(list, 1_000, 50)
    expect(list.pages.length).toBeLessThanOrEqual(4)
  })

  it("fails when its page fails", async () => {
    const failing = listByOffset({
      pageSize: 10,
      overlap: 2,
      fetchPage: () => Promise.reject(new Error("no answer")),
      idOf: (item: string) => item,
    })
    await expect(Array.fromAsync(failing)).rejects.toThrow("no answer")
  })
})
