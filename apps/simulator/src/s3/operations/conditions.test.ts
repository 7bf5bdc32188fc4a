import { describe, expect, it } from "vitest"
import { readRange } from "./conditions.ts"

describe("a Range header", () => {
  it.each([
    ["bytes=0-0", 10, { start: 0, end: 1 }],
    ["bytes=2-5", 10, { start: 2, end: 6 }],
    ["bytes=9-9", 10, { start: 9, end: 10 }],
    ["bytes=5-", 10, { start: 5, end: 10 }],
    ["bytes=5-99", 10, { start: 5, end: 10 }],
    ["bytes=-3", 10, { start: 7, end: 10 }],
    ["bytes=-99", 10, { start: 0, end: 10 }],
  ])("%s of %i bytes is a part", (header, size, span) => {
    expect(readRange(header, size)).toEqual(span)
  })

  it.each([undefined, "bytes=5-2", "bytes=-", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b"])(
    "%s means the whole object",
    (header) => {
      expect(readRange(header, 10)).toBeNull()
    },
  )

  it.each([
    ["bytes=10-", 10],
    ["bytes=10-20", 10],
    ["bytes=-0", 10],
    ["bytes=0-0", 0],
    ["bytes=-1", 0],
  ])("%s of %i bytes can't be satisfied", (header, size) => {
    expect(() => readRange(header, size)).toThrow(
      expect.objectContaining({ code: "InvalidRange", status: 416 }),
    )
  })
})
