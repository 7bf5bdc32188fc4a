/** The pace and the hours at which a backfill may feed. */
import type { Pace } from "../home/orders.ts"

/** What a feeder may still feed at this moment. */
export interface Allowance {
  /** Adds what the time since the last call allows. Call it at least once a second. */
  refill(pace: Pace, nowMs: number): void
  /** Whether one more archive may be fed. */
  readonly isOpen: boolean
  /** Notes that `archives` archives with `bytes` in all were fed; negative numbers take them back. */
  take(archives: number, bytes: number): void
}

/** How much unused time may be made up for after a pause. The first archive goes at once. */
const SAVED_SECONDS = 2

/**
 * Feeds at the pace that is set. An archive is fed as soon as a single byte is allowed, and the next ones wait until its bytes are
 * made up for.
 */
export function createAllowance(): Allowance {
  let archives = 1
  let bytes = 1
  let at: number | undefined
  let limits: { archives: boolean; bytes: boolean } = { archives: false, bytes: false }
  return {
    refill({ archivesPerSecond, bytesPerSecond }, nowMs) {
      const seconds = at === undefined ? 0 : Math.max(0, nowMs - at) / 1_000
      at = nowMs
      limits = { archives: archivesPerSecond !== undefined, bytes: bytesPerSecond !== undefined }
      const add = (left: number, rate: number | undefined) =>
        rate === undefined ? 1 : Math.min(left + rate * seconds, Math.max(1, rate * SAVED_SECONDS))
      archives = add(archives, archivesPerSecond)
      bytes = add(bytes, bytesPerSecond)
    },
    get isOpen() {
      return (!limits.archives || archives >= 1) && (!limits.bytes || bytes > 0)
    },
    take(count, size) {
      archives -= count
      bytes -= size
    },
  }
}

/** Whether `now` is within the hours of `pace`. Without hours, always. */
export function isWithinHours({ hours, zone = "UTC" }: Pace, now: Date): boolean {
  if (hours === undefined) return true
  const [from, until] = hours
  const hour = hourIn(zone, now)
  return from < until ? hour >= from && hour < until : hour >= from || hour < until
}

/** The hour of the day, 0 to 23, in a zone of the IANA's list. */
const hourIn = (zone: string, now: Date): number =>
  Number(new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", hourCycle: "h23" }).format(now))

/**
 * How many archives may wait in the queue, so that an order takes effect soon, and that workers always have something to do.
 * `meanBytes` is the mean size of an archive; 0 if it is not known.
 */
export function windowOf(most: number, drainedPerSecond: number, pace: Pace, meanBytes = 0): number {
  const { archivesPerSecond = Number.POSITIVE_INFINITY, bytesPerSecond = Number.POSITIVE_INFINITY } = pace
  const soon = Math.max(100, Math.ceil(drainedPerSecond * 120))
  const perSecond = Math.min(
    archivesPerSecond,
    meanBytes > 0 ? bytesPerSecond / meanBytes : archivesPerSecond,
  )
  return Math.min(most, soon, Math.max(1, Math.ceil(perSecond * 10)))
}
