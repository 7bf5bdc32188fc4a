import { describe, expect, it } from "vitest"
import { blockId, fits, newToken, parseBlockId, parseUpload, partSizeFor } from "./blocks.ts"

const MIB = 2 ** 20

describe("the part size", () => {
  const largest = 4000 * MIB - ((4000 * MIB) % 752)

  it("is the preferred one as long as the object fits into 50,000 such parts", () => {
    expect(partSizeFor(0, 7520)).toBe(7520)
    expect(partSizeFor(50_000 * 7520, 7520)).toBe(7520)
  })

  it("grows to the smallest multiple of 752 with which the object fits into 50,000 parts", () => {
    const size = 50_000 * 7520 + 1
    expect(partSizeFor(size, 7520)).toBe(7520 + 752)
    expect(fits(size, 7520)).toBe(false)
    expect(fits(size, 7520 + 752)).toBe(true)
  })

  it("is a multiple of 752, whatever the preference", () => {
    for (const [preferred, partSize] of [
      [1, 752],
      [752, 752],
      [753, 1504],
      [5 * MIB, 5 * MIB + 64],
      [4000 * MIB + 1, largest],
    ] as const)
      expect(partSizeFor(100, preferred)).toBe(partSize)
  })

  it("is still that of an upload begun by 0.1.0", () => {
    expect(fits(20 * MIB, 5 * MIB)).toBe(true)
    for (const partSize of [0, -16]) expect(fits(20 * MIB, partSize)).toBe(false)
  })

  it("is refused for an object that is too large for Azure", () => {
    expect(partSizeFor(50_000 * largest, 8 * MIB)).toBe(largest)
    expect(() => partSizeFor(50_000 * largest + 1, 8 * MIB)).toThrow(
      expect.objectContaining({ code: "ERR_CIPHERTEXT_INVALID" }),
    )
  })
})

describe("a token", () => {
  it("says when the upload began and how large its parts are", () => {
    const startedAt = new Date("2026-02-03T04:05:06.789Z")
    const token = newToken(4000 * MIB, startedAt)
    expect(parseUpload(token)).toEqual({ token, startedAt, partSize: 4000 * MIB })
  })

  it("is different each time", () => {
    const startedAt = new Date()
    expect(newToken(16, startedAt)).not.toBe(newToken(16, startedAt))
  })

  it("is not recognised in any other form", () => {
    const token = newToken(16)
    for (const text of ["", "x", token.slice(1), `${token}0`, token.toUpperCase(), `${token}\n`])
      expect(parseUpload(text)).toBeNull()
  })
})

describe("a block id", () => {
  it("says the upload, the part and its content", () => {
    const name = { token: newToken(16), number: 50_000, tag: "cbf43926" }
    expect(parseBlockId(blockId(name))).toEqual(name)
  })

  it("has one length for all parts, within the 64 bytes that Azure allows", () => {
    const ids = [
      blockId({ token: newToken(16, new Date(0)), number: 1, tag: "00000000" }),
      blockId({ token: newToken(4000 * MIB), number: 50_000, tag: "ffffffff" }),
    ]
    expect(new Set(ids.map((id) => id.length)).size).toBe(1)
    for (const id of ids) expect(Buffer.from(id, "base64").length).toBeLessThanOrEqual(64)
  })

  it("of another program is not recognised as ours", () => {
    for (const text of ["", "000001", "x".repeat(51)])
      expect(parseBlockId(Buffer.from(text).toString("base64"))).toBeNull()
  })
})
