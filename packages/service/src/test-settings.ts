import { ConfigurationError } from "./configuration-error.ts"
import { type Environment, readVariable } from "./environment.ts"

/**
 * What protects the archives, piece by piece. Each can be left out for a test, which then has to find what it protects from:
 * a protection whose absence nobody notices is not known to be there (test/chaos/README.md).
 */
export const PROTECTIONS = [
  ...(["etag-pin", "read-length", "conditional-complete", "commit-after-check"] as const),
  ...(["fence", "lock-renewal", "hand-back", "password-in-job-id"] as const),
] as const

/** What the test settings take, in a few words for docs/settings.md. */
export const TEST_TAKES = {
  UNSEAL_TEST: "`1`, `0`",
  UNSEAL_TEST_FAULT_POINT: "a step, its passage and what happens then: `after-part:3:kill`",
  UNSEAL_TEST_PROTECTIONS_OFF: PROTECTIONS.map((name) => `\`${name}\``).join(", "),
  UNSEAL_TEST_WATCHDOG: "`LIMIT:GRACE:CHECK` in milliseconds",
} as const

export type Protection = (typeof PROTECTIONS)[number]

/** Limits of the watchdog of runs, in milliseconds. */
export interface TestWatchdog {
  readonly limitMs: number
  readonly graceMs: number
  readonly checkMs: number
}

/** What the tests of Unseal itself have changed in a process. */
export interface TestSettings {
  /** As it was written; its process knows its form. */
  readonly faultPoint?: string
  readonly protectionsOff: readonly Protection[]
  /** Instead of minutes, which no test can wait for. */
  readonly watchdog?: TestWatchdog
}

/**
 * The test settings, or `null` unless `UNSEAL_TEST` is 1. Throws `ConfigurationError` for one that is there without it, so that
 * none can be in effect by a leftover in an environment.
 */
export function readTestSettings(env: Environment): TestSettings | null {
  const problems: string[] = []
  const testing = readVariable("UNSEAL_TEST", env, problems) ?? "0"
  const faultPoint = readVariable("UNSEAL_TEST_FAULT_POINT", env, problems)
  const off = readVariable("UNSEAL_TEST_PROTECTIONS_OFF", env, problems)
  const watchdog = readVariable("UNSEAL_TEST_WATCHDOG", env, problems)
  if (testing !== "0" && testing !== "1")
    problems.push(`UNSEAL_TEST must be 1 or 0, not ${JSON.stringify(testing.slice(0, 80))}`)
  if (testing !== "1")
    for (const [name, value] of Object.entries({
      UNSEAL_TEST_FAULT_POINT: faultPoint,
      UNSEAL_TEST_PROTECTIONS_OFF: off,
      UNSEAL_TEST_WATCHDOG: watchdog,
    }))
      if (value !== undefined)
        problems.push(`${name} is set: it is for tests of Unseal itself, and refused unless UNSEAL_TEST is 1`)

  const names = off?.split(",").map((name) => name.trim()) ?? []
  const protectionsOff = PROTECTIONS.filter((protection) => names.includes(protection))
  for (const name of names.filter((name) => !PROTECTIONS.includes(name as Protection)))
    problems.push(`UNSEAL_TEST_PROTECTIONS_OFF names ${name}, which is not one of ${PROTECTIONS.join(", ")}`)
  const limits = watchdog === undefined ? undefined : parseWatchdog(watchdog)
  if (testing === "1" && limits === null)
    problems.push("UNSEAL_TEST_WATCHDOG must be LIMIT:GRACE:CHECK in milliseconds, as in 3000:1000:100")
  if (problems.length > 0) throw new ConfigurationError(problems)
  if (testing !== "1") return null
  return {
    protectionsOff,
    ...(faultPoint !== undefined && { faultPoint }),
    ...(limits && { watchdog: limits }),
  }
}

function parseWatchdog(text: string): TestWatchdog | null {
  const [, limitMs, graceMs, checkMs] = /^([1-9]\d{0,6}):([1-9]\d{0,6}):([1-9]\d{0,6})$/.exec(text) ?? []
  if (limitMs === undefined) return null
  return { limitMs: Number(limitMs), graceMs: Number(graceMs), checkMs: Number(checkMs) }
}

/** Whether `protection` is left out. */
export const isOff = (testing: TestSettings | null, protection: Protection): boolean =>
  testing?.protectionsOff.includes(protection) ?? false
