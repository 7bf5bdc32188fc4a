import { describe, expect, it } from "vitest"
import { blockId, fits, newToken, parseBlockId, parseToken, partSizeFor } from "./azure-blocks.ts"

const MIB = 2 ** 20

describe("the part size", () => {
  it("is the preferred one while 50,000 parts of it hold the object", () => {
    expect(partSizeFor(0, 8 * MIB)).toBe(8 * MIB)
    expect(partSizeFor(50_000 * 8 * MIB, 8 * MIB)).toBe(8 * MIB)
  })

  it("grows by the smallest multiple of 16 that brings the object into 50,000 parts", () => {
    const size = 50_000 * 8 * MIB + 1
    expect(partSizeFor(size, 8 * MIB)).toBe(8 * MIB + 16)
    expect(fits(size, 8 * MIB)).toBe(false)
    expect(fits(size, 8 * MIB + 16)).toBe(true)
  })

  it("is a multiple of 16 whatever is preferred", () => {
    for (const [preferred, partSize] of [
      [1, 16],
      [16, 16],
      [17, 32],
      [5 * MIB + 1, 5 * MIB + 16],
    ] as const)
      expect(partSizeFor(100, preferred)).toBe(partSize)
  })

  it("is refused above 4000 MiB", () => {
    expect(partSizeFor(100, 4000 * MIB)).toBe(4000 * MIB)
    expect(() => partSizeFor(100, 4000 * MIB + 1)).toThrow(RangeError)
    expect(partSizeFor(50_000 * 4000 * MIB, 8 * MIB)).toBe(4000 * MIB)
    expect(() => partSizeFor(50_000 * 4000 * MIB + 1, 8 * MIB)).toThrow(
      expect.objectContaining({ code: "ERR_CIPHERTEXT_INVALID" }),
    )
  })
})

describe("a token", () => {
  it("says when the upload began and how large its parts are", () => {
    const startedAt = new Date("2026-02-03T04:05:06.789Z")
    const token = newToken(4000 * MIB, startedAt)
    expect(parseToken(token)).toEqual({ token, startedAt, partSize: 4000 * MIB })
  })

  it("is another one each time", () => {
    const startedAt = new Date()
    expect(newToken(16, startedAt)).not.toBe(newToken(16, startedAt))
  })

  it("is nothing else", () => {
    const token = newToken(16)
    for (const text of ["", "x", token.slice(1), `${token}0`, token.toUpperCase(), `${token}\n`])
      expect(parseToken(text)).toBeNull()
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

  it("of another program is none of ours", () => {
    for (const text of ["", "000001", "x".repeat(51)])
      expect(parseBlockId(Buffer.from(text).toString("base64"))).toBeNull()
  })
})
