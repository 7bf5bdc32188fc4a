import { describe, expect, it } from "vitest"
import { utf8Of } from "./text.ts"

describe("the text of a file", () => {
  it("is UTF-8 without a mark, however it was saved", () => {
    for (const text of ["", "a", "ü€𝄞\r\n"]) {
      const utf16 = Buffer.from(`\uFEFF${text}`, "utf16le")
      expect(utf8Of(utf16).toString()).toBe(text)
      expect(utf8Of(Buffer.from(utf16).swap16()).toString()).toBe(text)
      expect(utf8Of(Buffer.from(`\uFEFF${text}`)).toString()).toBe(text)
    }
  })

  it("is the bytes themselves if there is no mark, or no text after it", () => {
    const lone = Buffer.from([0xd8, 0x00])
    for (const bytes of [
      Buffer.from("plain"),
      Buffer.from([0xff]),
      Buffer.from([0xfe, 0xff, ...lone]),
      Buffer.from([0xff, 0xfe, ...lone.swap16()]),
    ])
      expect(utf8Of(bytes)).toBe(bytes)
  })

  it("loses only half a character at the end", () => {
    expect(utf8Of(Buffer.from([0xff, 0xfe, 0x61, 0x00, 0x62])).toString()).toBe("a")
  })
})
