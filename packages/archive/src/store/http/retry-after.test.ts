import { describe, expect, it } from "vitest"
import { retryAfterMs } from "./retry-after.ts"

const NOW = Date.parse("Tue, 24 Nov 2026 10:00:00 GMT")

describe("Retry-After", () => {
  it.each([
    ["0", 0],
    ["7", 7_000],
    [" 120 ", 120_000],
    ["Tue, 24 Nov 2026 10:00:30 GMT", 30_000],
    ["Tuesday, 24-Nov-26 10:01:00 GMT", 60_000],
    ["Tue, 24 Nov 2026 09:00:00 GMT", 0],
    ["-1", undefined],
    ["1.5", undefined],
    ["soon", undefined],
    ["", undefined],
    [null, undefined],
  ])("%j is %j ms", (header, expected) => {
    expect(retryAfterMs(header, NOW)).toBe(expected)
  })
})
