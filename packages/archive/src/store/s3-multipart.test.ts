import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { choosePartSize } from "./s3-multipart.ts"

const MIB = 1024 * 1024
const GIB = 1024 * MIB

describe("the part size for S3", () => {
  it("is the preferred one where S3 allows it", () => {
    expect(choosePartSize(GIB, 8 * MIB)).toBe(8 * MIB)
    expect(choosePartSize(752, 8 * MIB)).toBe(8 * MIB)
  })

  it("is 5 MiB where less is preferred", () => {
    expect(choosePartSize(GIB, 16)).toBe(5 * MIB)
  })

  it("grows so that 10,000 parts are enough", () => {
    expect(choosePartSize(10_000 * 8 * MIB, 8 * MIB)).toBe(8 * MIB)
    expect(choosePartSize(10_000 * 8 * MIB + 16, 8 * MIB)).toBe(9 * MIB)
  })

  it("is refused with the number for an object that S3 does not hold", () => {
    expect(choosePartSize(10_000 * 5 * GIB, 8 * MIB)).toBe(5 * GIB)
    expect(() => choosePartSize(2 ** 50, 8 * MIB)).toThrow(
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
          const partSize = choosePartSize(size, preferred)
          expect(partSize % MIB).toBe(0)
          expect(partSize).toBeGreaterThanOrEqual(Math.max(5 * MIB, preferred))
          expect(Math.ceil(size / partSize)).toBeLessThanOrEqual(10_000)
        },
      ),
    )
  })
})
