/** The options of `unseal backfill` for its pace and its hours. */
import type { Pace } from "@unseal/operations/backfill/home/orders"
import { UsageError } from "../terminal/exit.ts"

export interface PaceOptions {
  readonly rate?: string
  readonly hours?: string
  readonly zone?: string
}

/**
 * The pace that `options` ask for; `undefined` if they ask for none. Where they say nothing, `before` stays. Throws `UsageError`.
 */
export function paceOf({ rate, hours, zone }: PaceOptions, before: Pace = {}): Pace | undefined {
  if (rate === undefined && hours === undefined && zone === undefined) return undefined
  const { archivesPerSecond, bytesPerSecond, ...time } = before
  const kept = {
    ...(archivesPerSecond !== undefined && { archivesPerSecond }),
    ...(bytesPerSecond !== undefined && { bytesPerSecond }),
  }
  const pace = { ...(rate === undefined ? kept : rateOf(rate)), ...timeOf(hours, zone, time) }
  if (pace.zone !== undefined && pace.hours === undefined)
    throw new UsageError("--zone is the time zone of the hours: give --hours as well")
  return pace
}

const UNITS = { kB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const

/** `5`, `5/s`, `0.5/s`, `100/h`, `200MB/s`, `none`. */
function rateOf(text: string): Pace {
  if (text === "none") return {}
  const [, number, unit, time = "s"] = /^(\d+(?:\.\d+)?)([kMG]i?B|KiB)?(?:\/(s|min|h))?$/.exec(text) ?? []
  const value = Number(number)
  const isKnown = unit === undefined || Object.hasOwn(UNITS, unit)
  if (number === undefined || !(value > 0) || !isKnown)
    throw new UsageError(
      `--rate ${text} is not a rate: give archives (5/s, 100/h), bytes (200MB/s, 1GiB/min), or none`,
    )
  const perSecond = value / { s: 1, min: 60, h: 3_600 }[time as "s" | "min" | "h"]
  return unit === undefined
    ? { archivesPerSecond: perSecond }
    : { bytesPerSecond: perSecond * UNITS[unit as keyof typeof UNITS] }
}

function timeOf(hours: string | undefined, zone: string | undefined, before: Pace): Pace {
  if (hours === "none" || hours === "always") return {}
  const [, from, until] = /^(\d{1,2})-(\d{1,2})$/.exec(hours ?? "") ?? []
  if (hours !== undefined && !(Number(from) <= 23 && Number(until) <= 24 && from !== until))
    throw new UsageError(
      `--hours ${hours} is not a span of hours: give two hours of a day, such as 22-6, or none`,
    )
  if (zone !== undefined && !isZone(zone))
    throw new UsageError(`--zone ${zone} is not a time zone: give a name such as Europe/Berlin or UTC`)
  return {
    ...before,
    ...(hours !== undefined && { hours: [Number(from), Number(until)] as [number, number] }),
    ...(zone !== undefined && { zone }),
  }
}

function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone })
    return true
  } catch {
    return false
  }
}

/** The pace for people: `5 archives a second, from 22 to 6 in Europe/Berlin`. */
export function describePace({ archivesPerSecond, bytesPerSecond, hours, zone = "UTC" }: Pace): string {
  const number = (value: number) => String(Number(value.toPrecision(3)))
  const rate =
    archivesPerSecond !== undefined
      ? `at most ${number(archivesPerSecond)} archives a second`
      : bytesPerSecond !== undefined
        ? `at most ${number(bytesPerSecond / 1e6)} MB a second`
        : "as fast as the workers are"
  return hours === undefined ? rate : `${rate}, from ${hours[0]} to ${hours[1]} o'clock (${zone})`
}
