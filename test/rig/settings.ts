/**
 * The environment of the mains in this folder. The product's own mains read no `RIG_…` variable. Everything else in a process
 * is the product's.
 */
import { ConfigurationError, type Environment } from "@unseal/service/settings/settings"

/**
 * The protections of archives. Each can be disabled for a test, which must then detect the damage. A protection whose absence
 * nobody notices is not known to work (test/chaos/README.md).
 */
export const PROTECTIONS = [
  ...(["etag-pin", "read-length", "conditional-complete", "commit-after-check"] as const),
  ...(["fence", "lock-renewal", "hand-back", "password-in-job-id"] as const),
] as const

export type Protection = (typeof PROTECTIONS)[number]

/** Limits of the watchdog of runs, in milliseconds. */
interface Watchdog {
  readonly limitMs: number
  readonly graceMs: number
  readonly checkMs: number
}

export interface RigSettings {
  /** `RIG_FAULT_POINT`, unparsed (fault-point.ts). */
  readonly faultPoint?: string
  /** `RIG_PROTECTIONS_OFF`, separated by commas. */
  readonly protectionsOff: readonly Protection[]
  /** `RIG_WATCHDOG=LIMIT:GRACE:CHECK` in milliseconds. The product's limits are minutes, too long for a test. */
  readonly watchdog?: Watchdog
  /** `RIG_STORE_IDLE_MS`: the stores' limit of silence. A peer may take ten times as long in addition to that for its bytes. */
  readonly storeIdleMs?: number
}

/** Throws `ConfigurationError` with every problem. */
export function readRigSettings(env: Environment = process.env): RigSettings {
  const problems: string[] = []
  const { RIG_FAULT_POINT: faultPoint, RIG_PROTECTIONS_OFF: off, RIG_WATCHDOG: watchdog } = env
  const { RIG_STORE_IDLE_MS: storeIdle } = env
  const names = off?.split(",").map((name) => name.trim()) ?? []
  const protectionsOff = PROTECTIONS.filter((protection) => names.includes(protection))
  for (const name of names.filter((name) => !PROTECTIONS.includes(name as Protection)))
    problems.push(`RIG_PROTECTIONS_OFF names ${name}, which is not one of ${PROTECTIONS.join(", ")}`)
  const limits = watchdog === undefined ? undefined : parseWatchdog(watchdog)
  if (limits === null)
    problems.push("RIG_WATCHDOG must be LIMIT:GRACE:CHECK in milliseconds, as in 3000:1000:100")
  if (storeIdle !== undefined && !/^[1-9]\d{0,6}$/.test(storeIdle))
    problems.push("RIG_STORE_IDLE_MS must be a number of milliseconds")
  if (problems.length > 0) throw new ConfigurationError(problems)
  return {
    protectionsOff,
    ...(faultPoint !== undefined && { faultPoint }),
    ...(limits && { watchdog: limits }),
    ...(storeIdle !== undefined && { storeIdleMs: Number(storeIdle) }),
  }
}

function parseWatchdog(text: string): Watchdog | null {
  const [, limitMs, graceMs, checkMs] = /^([1-9]\d{0,6}):([1-9]\d{0,6}):([1-9]\d{0,6})$/.exec(text) ?? []
  if (limitMs === undefined) return null
  return { limitMs: Number(limitMs), graceMs: Number(graceMs), checkMs: Number(checkMs) }
}

/** Whether `protection` is disabled. */
export const isOff = (settings: RigSettings, protection: Protection): boolean =>
  settings.protectionsOff.includes(protection)
