import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { UnsealError } from "../../errors.ts"
import { partSizeFor } from "./multipart.ts"

const MIB = 1024 * 1024
const GIB = 1024 * MIB

describe("the part size for S3", () => {
  it("is the preferred one if S3 allows it", () => {
    expect(partSizeFor(GIB, 752 * 10_000)).toBe(752 * 10_000)
    expect(partSizeFor(752, 752 * 10_000)).toBe(752 * 10_000)
  })

  it("is the first multiple of 752 above 5 MiB if less is preferred", () => {
    expect(partSizeFor(GIB, 16)).toBe(5 * MIB + 64)
  })

  it("grows so that 10,000 parts are enough", () => {
    const preferred = 752 * 10_000
    expect(partSizeFor(10_000 * preferred, preferred)).toBe(preferred)
    expect(partSizeFor(10_000 * preferred + 16, preferred)).toBe(preferred + 752)
  })

  it("is refused, with the number, for an object that is too large for S3", () => {
    const largest = 5 * GIB - ((5 * GIB) % 752)
    expect(partSizeFor(10_000 * largest, 8 * MIB)).toBe(largest)
    expect(partSizeFor(GIB, 6 * GIB)).toBe(largest)
    expect(() => partSizeFor(10_000 * largest + 1, 8 * MIB)).toThrow(UnsealError)
    expect(() => partSizeFor(2 ** 50, 8 * MIB)).toThrow(
      expect.objectContaining({
        code: "ERR_CIPHERTEXT_INVALID",
        message: expect.stringContaining(`${2 ** 50} bytes`),
      }),
    )
  })

  it("fits every object and preference", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 5 * 1024 * GIB }),
        fc.integer({ min: 1, max: GIB }),
        (size, preferred) => {
          const partSize = partSizeFor(size, preferred)
          expect(partSize % 752).toBe(0)
          expect(partSize).toBeGreaterThanOrEqual(Math.max(5 * MIB, preferred))
          expect(Math.ceil(size / partSize)).toBeLessThanOrEqual(10_000)
        },
      ),
    )
  })
})
