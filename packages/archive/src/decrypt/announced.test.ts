import { expect, it } from "vitest"
import { aes256Cbc } from "../format/cbc.ts"
import { checkSize } from "./announced.ts"

const object = (size: number) => ({ key: "a.ts", size, etag: "1", metadata: {} })

it.each([
  [1, /^a\.ts of 1 byte is not a whole number of 16-byte blocks/],
  [17, /^a\.ts of 17 bytes is not a whole number of 16-byte blocks/],
] as const)("an object of %d bytes is refused with its size in words", (size, message) => {
  expect(() => checkSize(object(size), aes256Cbc)).toThrow(message)
})

it("an empty object is refused if bytes were announced, and fine if none were", () => {
  expect(() => checkSize(object(0), aes256Cbc, { size: 1 })).toThrow(
    "is empty (0 bytes), but the callback announced 1 byte",
  )
  expect(() => checkSize(object(0), aes256Cbc, { size: 0 })).not.toThrow()
  expect(() => checkSize(object(0), aes256Cbc)).not.toThrow()
})
