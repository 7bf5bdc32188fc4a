import { expect, test } from "vitest"
import { ConfigurationError } from "./settings.ts"
import { isOff, PROTECTIONS, readTestSettings } from "./test-settings.ts"

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    readTestSettings(env)
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems
    throw error
  }
  return []
}

test("are absent where nothing is set, and every protection is on", () => {
  expect(readTestSettings({})).toBeNull()
  expect(readTestSettings({ UNSEAL_TEST: "0" })).toBeNull()
  for (const protection of PROTECTIONS) expect(isOff(null, protection)).toBe(false)
})

test("are refused without UNSEAL_TEST, each by name", () => {
  for (const name of ["UNSEAL_TEST_FAULT_POINT", "UNSEAL_TEST_PROTECTIONS_OFF", "UNSEAL_TEST_WATCHDOG"])
    expect(problemsOf({ [name]: "fence" })).toEqual([expect.stringContaining(`${name} is set`)])
  expect(problemsOf({ UNSEAL_TEST: "0", UNSEAL_TEST_FAULT_POINT: "after-create" })).toHaveLength(1)
  expect(problemsOf({ UNSEAL_TEST: "yes" })).toEqual(['UNSEAL_TEST must be 1 or 0, not "yes"'])
})

test("say which protections are left out", () => {
  const testing = readTestSettings({ UNSEAL_TEST: "1", UNSEAL_TEST_PROTECTIONS_OFF: "fence, etag-pin" })
  expect(testing).toEqual({ protectionsOff: ["etag-pin", "fence"] })
  expect(isOff(testing, "fence")).toBe(true)
  expect(isOff(testing, "hand-back")).toBe(false)
})

test("give the watchdog limits that a test can wait for", () => {
  const env = { UNSEAL_TEST: "1", UNSEAL_TEST_WATCHDOG: "3000:1000:100" }
  expect(readTestSettings(env)).toEqual({
    protectionsOff: [],
    watchdog: { limitMs: 3_000, graceMs: 1_000, checkMs: 100 },
  })
  for (const wrong of ["3000", "3000:1000", "0:1000:100", "3000:1000:1e2", "3s:1s:1s"])
    expect(problemsOf({ ...env, UNSEAL_TEST_WATCHDOG: wrong })).toEqual([
      expect.stringContaining("UNSEAL_TEST_WATCHDOG must be LIMIT:GRACE:CHECK in milliseconds"),
    ])
})

test("name no protection that there is not", () => {
  expect(problemsOf({ UNSEAL_TEST: "1", UNSEAL_TEST_PROTECTIONS_OFF: "fense" })).toEqual([
    expect.stringContaining("names fense, which is not one of"),
  ])
})
