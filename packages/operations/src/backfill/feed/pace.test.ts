import { expect, test } from "vitest"
import { createAllowance, isWithinHours, windowOf } from "./pace.ts"

/** Feeds archives of `bytes` for `seconds`, whenever that is allowed, and looks every tenth of a second. */
function fedIn(seconds: number, pace: Parameters<typeof windowOf>[2], bytes: number): number {
  const allowance = createAllowance()
  let fed = 0
  for (let ms = 0; ms <= seconds * 1_000; ms += 100) {
    allowance.refill(pace, ms)
    while (allowance.isOpen && fed < 100_000) {
      allowance.take(1, bytes)
      fed++
    }
  }
  return fed
}

test.each([
  ["archives", { archivesPerSecond: 5 }, 1, 5],
  ["few archives", { archivesPerSecond: 0.1 }, 1, 0.1],
  ["bytes", { bytesPerSecond: 1e6 }, 1e5, 10],
  ["archives larger than a second's bytes", { bytesPerSecond: 1e6 }, 5e6, 0.2],
] as const)("a rate of %s holds over time", (_, pace, bytes, perSecond) => {
  const fed = fedIn(600, pace, bytes)
  expect(fed).toBeGreaterThanOrEqual(perSecond * 600 * 0.98)
  expect(fed).toBeLessThanOrEqual(perSecond * 600 * 1.02 + 2)
})

test("without a rate everything is allowed, and a pause is not made up for", () => {
  const allowance = createAllowance()
  allowance.refill({}, 0)
  allowance.take(1_000, 1e12)
  allowance.refill({}, 1)
  expect(allowance.isOpen).toBe(true)
  const paced = createAllowance()
  paced.refill({ archivesPerSecond: 5 }, 0)
  paced.refill({ archivesPerSecond: 5 }, 3_600_000)
  let fed = 0
  for (; paced.isOpen; fed++) paced.take(1, 0)
  expect(fed).toBe(10)
})

test.each<[[number, number] | undefined, string, string, boolean]>([
  [undefined, "UTC", "2026-01-15T12:00:00Z", true],
  [[22, 6], "UTC", "2026-01-15T21:59:59Z", false],
  [[22, 6], "UTC", "2026-01-15T22:00:00Z", true],
  [[22, 6], "UTC", "2026-01-15T05:59:59Z", true],
  [[22, 6], "UTC", "2026-01-15T06:00:00Z", false],
  [[9, 17], "UTC", "2026-01-15T16:59:59Z", true],
  [[9, 17], "UTC", "2026-01-15T17:00:00Z", false],
  [[18, 24], "UTC", "2026-01-15T23:30:00Z", true],
  [[18, 24], "UTC", "2026-01-15T00:00:00Z", false],
  // Berlin is an hour ahead in winter, and two in summer.
  [[22, 6], "Europe/Berlin", "2026-01-15T21:00:00Z", true],
  [[22, 6], "Europe/Berlin", "2026-07-15T20:00:00Z", true],
  [[22, 6], "Europe/Berlin", "2026-07-15T04:00:00Z", false],
])("hours %j in %s hold at %s: %s", (hours, zone, now, isWithin) => {
  expect(isWithinHours({ ...(hours && { hours }), zone }, new Date(now))).toBe(isWithin)
})

test.each([
  ["what the fleet drains in two minutes", 10_000, 50, {}, 6_000],
  ["never more than the setting", 10_000, 1_000, {}, 10_000],
  ["enough for a start", 10_000, 0, {}, 100],
  ["a small setting", 5, 50, {}, 5],
  ["what a rate allows in ten seconds", 10_000, 50, { archivesPerSecond: 5 }, 50],
  ["at least one", 10_000, 50, { archivesPerSecond: 0.001 }, 1],
  ["what a rate of bytes allows of archives of 1 MB", 10_000, 50, { bytesPerSecond: 5e6 }, 50],
] as const)("the window is %s", (_, most, drained, pace, window) => {
  expect(windowOf(most, drained, pace, 1e6)).toBe(window)
})

test("a rate of bytes limits no window while no size is known", () => {
  expect(windowOf(10_000, 50, { bytesPerSecond: 1 })).toBe(6_000)
})
