import { expect, test } from "vitest"
import { describePace, paceOf } from "./options.ts"

test.each([
  [{ rate: "5/s" }, { archivesPerSecond: 5 }],
  [{ rate: "5" }, { archivesPerSecond: 5 }],
  [{ rate: "90/h" }, { archivesPerSecond: 0.025 }],
  [{ rate: "200MB/s" }, { bytesPerSecond: 2e8 }],
  [{ rate: "1.5GiB/min" }, { bytesPerSecond: (1.5 * 2 ** 30) / 60 }],
  [
    { hours: "22-6", zone: "Europe/Berlin" },
    { hours: [22, 6], zone: "Europe/Berlin" },
  ],
  [{ hours: "18-24" }, { hours: [18, 24] }],
  [{}, undefined],
] as const)("%j is the pace %j", (options, pace) => {
  expect(paceOf(options)).toEqual(pace)
})

test("what no option mentions stays, and `none` removes a limit", () => {
  const before = { archivesPerSecond: 5, hours: [22, 6] as [number, number], zone: "UTC" }
  expect(paceOf({ rate: "1MB/s" }, before)).toEqual({ bytesPerSecond: 1e6, hours: [22, 6], zone: "UTC" })
  expect(paceOf({ rate: "none" }, before)).toEqual({ hours: [22, 6], zone: "UTC" })
  expect(paceOf({ hours: "none" }, before)).toEqual({ archivesPerSecond: 5 })
  expect(paceOf({ zone: "Europe/Berlin" }, before)).toEqual({ ...before, zone: "Europe/Berlin" })
})

test.each([
  { rate: "fast" },
  { rate: "0/s" },
  { rate: "5/day" },
  { rate: "5XB/s" },
  { hours: "22" },
  { hours: "25-6" },
  { hours: "6-6" },
  { hours: "22-6", zone: "Mars/Olympus" },
  { zone: "UTC" },
])("%j is refused, with the forms that there are", (options) => {
  expect(() => paceOf(options)).toThrow(/--(rate|hours|zone) .*(:|give)/)
})

test("a pace is printed as it was given", () => {
  expect(describePace({})).toBe("as fast as the workers are")
  expect(describePace({ archivesPerSecond: 5, hours: [22, 6], zone: "Europe/Berlin" })).toBe(
    "at most 5 archives a second, from 22 to 6 o'clock (Europe/Berlin)",
  )
})
