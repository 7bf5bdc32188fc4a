import type { LogLine } from "@unseal/test/harness/process"
import { expect, test } from "vitest"
import { createStandstill } from "./standstill.ts"

const trouble = (reason: string): LogLine =>
  ({
    level: "warn",
    msg: "project suspended",
    code: "ERR_STORE_DENIED",
    reason,
    remedy: "mend it",
  }) as LogLine

test("reports what the processes said last when nothing has moved for too long", () => {
  let now = 0
  const standstill = createStandstill(() => now)
  standstill.note(trouble("ERR_STORE_DENIED: first"))
  standstill.note(trouble("ERR_STORE_DENIED: second"))
  standstill.note({
    level: "error",
    msg: "archive could not be uploaded",
    err: { message: "no bucket" },
  } as LogLine)
  expect(standstill.said(/second/)).toBe("  ERR_STORE_DENIED: second\n    mend it")
  expect(standstill.said(/first/)).toBeNull()
  expect(standstill.whyStill("1 of 2")).toBeNull()
  now = 74_000
  expect(standstill.whyStill("1 of 2")).toBeNull()
  now = 76_000
  expect(standstill.whyStill("1 of 2")).toMatch(
    /^ {2}ERR_STORE_DENIED: second\n {4}mend it\n {2}the simulated vendor could not upload an archive: no bucket\n/,
  )
})

test("is silent while something moves, and while no process complains", () => {
  let now = 0
  const standstill = createStandstill(() => now)
  standstill.note(trouble("ERR_STORE_DENIED: passing"))
  for (const state of ["1 of 3", "2 of 3"]) {
    expect(standstill.whyStill(state)).toBeNull()
    now += 70_000
  }
  expect(createStandstill(() => now).whyStill("2 of 3")).toBeNull()
})
