import { ConfigurationError } from "@unseal/service/settings/settings"
import { expect, test } from "vitest"
import { createPassages, parseFaultPoint, STEPS } from "./fault-point.ts"

test("a fault point is a step, its passage and an action", () => {
  expect(parseFaultPoint("after-create")).toEqual({
    step: "after-create",
    passage: 1,
    action: { kind: "kill" },
  })
  expect(parseFaultPoint("after-part:3:block=5000")).toEqual({
    step: "after-part",
    passage: 3,
    action: { kind: "block", ms: 5_000 },
  })
  for (const step of STEPS) expect(parseFaultPoint(`${step}:2:stop`).action).toEqual({ kind: "stop" })
})

test.each([
  "",
  "after-dinner",
  "after-part:0",
  "after-part:1:faint",
  "after-part:1:block",
  "after-part:x:kill",
])("%j is not one, which is reported before anything is connected", (text) => {
  expect(() => parseFaultPoint(text)).toThrow(ConfigurationError)
})

test("it acts at its passage, and at no other", async () => {
  const pass = createPassages(parseFaultPoint("after-part:2:block=80"))
  const blocked: boolean[] = []
  for (const step of ["after-part", "after-write", "after-part", "after-part"] as const) {
    const before = performance.now()
    await pass(step)
    blocked.push(performance.now() - before >= 80)
  }
  expect(blocked[2]).toBe(true)
})

test("a held run continues after a SIGUSR2", async () => {
  const pass = createPassages(parseFaultPoint("before-fence:1:hold"))
  let passed = false
  const held = pass("before-fence").then(() => {
    passed = true
  })
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(passed).toBe(false)
  process.emit("SIGUSR2")
  await held
  expect(passed).toBe(true)
})
