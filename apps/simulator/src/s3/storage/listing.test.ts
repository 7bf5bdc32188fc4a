import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { compareKeys, KeyIndex } from "./key-index.ts"
import { selectPage } from "./listing.ts"

const indexOf = (keys: Iterable<string>): KeyIndex => {
  const index = new KeyIndex()
  for (const key of new Set(keys)) index.add(key)
  return index
}

// Short keys over a small alphabet make prefixes and delimiters meet. One code point lies beyond the surrogates.
const keys = fc.uniqueArray(
  fc.string({ unit: fc.constantFrom("a", "b", "/", "-", "\uffee", "😀"), minLength: 1, maxLength: 6 }),
  { maxLength: 40 },
)

/** The expected listing of everything, straight from its definition. */
function expected(all: string[], prefix: string, delimiter: string): string[] {
  const rolledUp = all
    .filter((key) => key.startsWith(prefix))
    .map((key) => {
      const end = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length)
      return end < 0 ? key : key.slice(0, end + delimiter.length)
    })
  return [...new Set(rolledUp)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

describe("a listing", () => {
  it("in pages of any size adds up to the whole listing, each entry once and in byte order", () => {
    fc.assert(
      fc.property(
        keys,
        fc.constantFrom("", "a", "a/", "b"),
        fc.constantFrom("", "/", "-a"),
        fc.integer({ min: 1, max: 5 }),
        (all, prefix, delimiter, limit) => {
          const index = indexOf(all)
          const listed: string[] = []
          for (let after: string | undefined = ""; after !== undefined; ) {
            const page = selectPage(index, { prefix, delimiter, after, limit })
            const entries = [...page.keys, ...page.commonPrefixes].sort(compareKeys)
            expect(entries.length).toBeLessThanOrEqual(limit)
            listed.push(...entries)
            after = page.next
          }
          expect(listed).toEqual(expected(all, prefix, delimiter))
        },
      ),
      { numRuns: 500 },
    )
  })

  it("can begin after a key that does not exist", () => {
    const index = indexOf(["a", "c", "d"])
    expect(selectPage(index, { prefix: "", delimiter: "", after: "b", limit: 10 }).keys).toEqual(["c", "d"])
  })

  it("of at most 0 entries is empty and has no next page", () => {
    expect(selectPage(indexOf(["a"]), { prefix: "", delimiter: "", after: "", limit: 0 })).toEqual({
      keys: [],
      commonPrefixes: [],
    })
  })

  it("no longer has a deleted key", () => {
    const index = indexOf(["a", "b", "c"])
    index.delete("b")
    index.delete("x")
    expect(selectPage(index, { prefix: "", delimiter: "", after: "", limit: 10 }).keys).toEqual(["a", "c"])
  })
})
