import { randomBytes } from "node:crypto"
import { expect, test } from "vitest"
import { base64Bytes, pemBytes } from "./pem-bytes.ts"

test("base64 equals Node's, whatever the length", () => {
  for (let length = 0; length <= 100; length++) {
    const bytes = randomBytes(length)
    expect(base64Bytes(bytes).toString("latin1")).toBe(bytes.toString("base64"))
  }
})

test("a PEM block has lines of 64 characters between its markers", () => {
  const der = randomBytes(100)
  const lines = pemBytes("PRIVATE KEY", der).toString("latin1").split("\n")
  expect([lines[0], lines.at(-2), lines.at(-1)]).toEqual([
    "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----",
    "",
  ])
  const body = lines.slice(1, -2)
  expect(body.map((line) => line.length)).toEqual([64, 64, 8])
  expect(Buffer.from(body.join(""), "base64").equals(der)).toBe(true)
})
