import { expect, test } from "vitest"
import { counted } from "./counted.ts"

test.each([
  [0, "0 dead letters"],
  [1, "1 dead letter"],
  [2, "2 dead letters"],
])("%d of them is %s", (count, text) => {
  expect(counted(count, "dead letter")).toBe(text)
})

test("a verb agrees with its noun", () => {
  expect(counted(1, "archive goes", "archives go")).toBe("1 archive goes")
  expect(counted(3, "archive goes", "archives go")).toBe("3 archives go")
})
