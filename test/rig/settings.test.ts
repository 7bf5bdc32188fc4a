import { ConfigurationError } from "@unseal/service/settings/settings"
import { expect, test } from "vitest"
import { isOff, PROTECTIONS, readRigSettings } from "./settings.ts"

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    readRigSettings(env)
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems
    throw error
  }
  return []
}

test("disable nothing by default", () => {
  for (const protection of PROTECTIONS) expect(isOff(readRigSettings({}), protection)).toBe(false)
})

test("name the protections to leave out", () => {
  const settings = readRigSettings({ RIG_PROTECTIONS_OFF: "fence, etag-pin" })
  expect(settings).toEqual({ protectionsOff: ["etag-pin", "fence"] })
  expect(isOff(settings, "fence")).toBe(true)
  expect(isOff(settings, "hand-back")).toBe(false)
})

test("give the watchdog limits that a test can wait for", () => {
  expect(readRigSettings({ RIG_WATCHDOG: "3000:1000:100" })).toEqual({
    protectionsOff: [],
    watchdog: { limitMs: 3_000, graceMs: 1_000, checkMs: 100 },
  })
  for (const wrong of ["3000", "3000:1000", "0:1000:100", "3000:1000:1e2", "3s:1s:1s"])
    expect(problemsOf({ RIG_WATCHDOG: wrong })).toEqual([
      expect.stringContaining("RIG_WATCHDOG must be LIMIT:GRACE:CHECK in milliseconds"),
    ])
})

test("give the stores a limit of silence that a test can wait for", () => {
  expect(readRigSettings({ RIG_STORE_IDLE_MS: "2000" })).toEqual({ protectionsOff: [], storeIdleMs: 2_000 })
  for (const wrong of ["0", "2s"])
    expect(problemsOf({ RIG_STORE_IDLE_MS: wrong })).toEqual([expect.stringContaining("RIG_STORE_IDLE_MS")])
})

test("can't name an unknown protection", () => {
  expect(problemsOf({ RIG_PROTECTIONS_OFF: "fense" })).toEqual([
    expect.stringContaining("names fense, which is not one of"),
  ])
})
