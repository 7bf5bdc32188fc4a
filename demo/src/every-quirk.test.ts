import { expect, test } from "vitest"
import { endOf } from "./every-quirk.ts"

test("finds the line that says how a demo ended", () => {
  const equal = "4 of 4 archives, 42 MB, are byte for byte what openssl gives"
  expect(endOf(`Starting\n  ${equal}\n\nWhere to look\n  somewhere\n`)).toBe(equal)
  expect(endOf("Starting\n  ERR_STORE_DENIED: no\n    do this\n")).toBe("ERR_STORE_DENIED: no")
  expect(endOf("Starting\n  crash\n")).toBe("crash")
  expect(endOf("ERR_STORE_DENIED: no\n  do this\n  At the destination: nothing.\n")).toBe(
    "ERR_STORE_DENIED: no | At the destination: nothing.",
  )
  expect(endOf("ERR_STORE_DENIED: no\n  do this\n  But: 1 archive is published all the same.\n")).toBe(
    "ERR_STORE_DENIED: no | But: 1 archive is published all the same.",
  )
  expect(endOf("")).toBe("said nothing")
  expect(endOf("x".repeat(200))).toBe(`${"x".repeat(150)}…`)
})
