/**
 * What the environment says of the mains in this folder. The product has none of it: its own mains read no `RIG_…`, and the rest of a
 * process is the product's.
 */
import { ConfigurationError, type Environment } from "@unseal/service/settings"

/**
 * What protects the archives, piece by piece. Each can be left out for a test, which then has to find what it protects from:
 * a protection whose absence nobody notices is not known to be there (test/chaos/README.md).
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
  /** `RIG_FAULT_POINT`, as it was written (fault-point.ts). */
  readonly faultPoint?: string
  /** `RIG_PROTECTIONS_OFF`, separated by commas. */
  readonly protectionsOff: readonly Protection[]
  /** `RIG_WATCHDOG=LIMIT:GRACE:CHECK` in milliseconds, instead of minutes, which no test can wait for. */
  readonly watchdog?: Watchdog
  /** `RIG_STORE_IDLE_MS`: the stores' limit of silence, which is a tenth of what a peer may take beside its bytes. */
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
    problems.push(`RIG_PROTECTIONS_OFF names ${name}, which is none of ${PROTECTIONS.join(", ")}`)
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

/** Whether `protection` is left out. */
export const isOff = (settings: RigSettings, protection: Protection): boolean =>
  settings.protectionsOff.includes(protection)
