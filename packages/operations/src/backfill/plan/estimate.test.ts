import { expect, test } from "vitest"
import { addArchived, addWork, countsOf, noCounts, type PlanCounts } from "./counts.ts"
import { type EstimateOptions, estimatePlan, rateOfMinutes } from "./estimate.ts"

const GB = 1e9
const given: EstimateOptions = { workers: 2, workerBytesPerSecond: 100e6, measuredArchivesPerSecond: 0 }

/** Two projects: 7,200 readable archives of a GB in each, and 300 + 100 archived ones in the first. */
function counts(): PlanCounts {
  const all = { ...noCounts(), archives: 20_000 }
  for (const id of ["1", "2"]) {
    const work = { archives: 7_200, bytes: 7_200 * GB, reads: 720_000, writes: 720_000 }
    addWork(countsOf(all, id).fresh, work)
  }
  const cold = countsOf(all, "1")
  addArchived(cold, "GLACIER", { archives: 300, bytes: 300 * GB, restoring: 100 })
  addArchived(cold, "DEEP_ARCHIVE", { archives: 100, bytes: 100 * GB, restoring: 0 })
  addWork(cold.restored, { archives: 400, bytes: 400 * GB, reads: 40_000, writes: 40_000 })
  return all
}

test("hours come from the bytes at the given throughput, or from the archives at the measured rate", () => {
  const byBytes = estimatePlan(counts(), given)
  // 14,400 GB at 200 MB a second.
  expect(byBytes.hours).toEqual({ byBytes: 20, byArchives: null, restoring: 0, total: 20 })
  expect(byBytes.work).toEqual({ archives: 14_400, bytes: 14_400 * GB, reads: 1_440_000, writes: 1_440_000 })
  const measured = estimatePlan(counts(), { ...given, measuredArchivesPerSecond: 2 })
  expect(measured.hours).toEqual({ byBytes: 20, byArchives: 2, restoring: 0, total: 2 })
})

test("archived objects are work only if they are asked back, in as many rounds as the limit requires", () => {
  const wide = estimatePlan(counts(), { ...given, restore: { tier: "bulk", most: 1_000 } })
  expect(wide.work.archives).toBe(14_800)
  expect(wide.restores).toEqual({ requests: 300, bytes: 300 * GB })
  // All at once, so the slowest decides.
  expect(wide.hours.restoring).toBe(48)
  expect(wide.hours.total).toBe(48)
  const narrow = estimatePlan(counts(), { ...given, restore: { tier: "standard", most: 10 } })
  expect(narrow.hours.restoring).toBe(30 * 5 + 10 * 12)
  expect(estimatePlan(counts(), given).restores).toEqual({ requests: 0, bytes: 0 })
})

test("the cost is that of requests, bytes and restores, including a feeder's looks", () => {
  expect(estimatePlan(counts(), given).cost).toBeNull()
  const restore = { tier: "bulk", most: 1_000 } as const
  const cost = (prices: EstimateOptions["prices"]) =>
    estimatePlan(counts(), { ...given, restore, prices: prices! }).cost
  // One look at the record of each line, and one at the object of each line that is not done.
  expect(cost({ perThousandReads: 1 })).toBeCloseTo((1_480_000 + 20_000 + 14_800) / 1_000, 6)
  expect(cost({ perThousandWrites: 1 })).toBeCloseTo(1_480, 6)
  expect(cost({ perGigabyte: 0.01 })).toBeCloseTo(2 * 14_800 * 0.01, 6)
  expect(cost({ perThousandRestores: 10 })).toBeCloseTo(3, 6)
  expect(cost({ perRestoredGigabyte: 0.0025 })).toBeCloseTo(0.75, 6)
  expect(cost({ perThousandReads: 0, perThousandWrites: undefined })).toBe(0)
})

test("nothing to do takes no time and costs nothing", () => {
  const prices = { perThousandReads: 1, perGigabyte: 1 }
  const { hours, cost } = estimatePlan(noCounts(), { ...given, prices, restore: { tier: "bulk", most: 1 } })
  expect([hours.total, cost]).toEqual([0, 0])
})

test.for<[string, Partial<EstimateOptions>]>([
  ["workers", { workers: 0 }],
  ["bytes per second", { workerBytesPerSecond: Number.NaN }],
  ["restores", { restore: { tier: "bulk", most: 0 } }],
  ["price", { prices: { perGigabyte: -1 } }],
])("an impossible number of %s is refused: %o", ([name, wrong], { expect }) => {
  expect(() => estimatePlan(counts(), { ...given, ...wrong })).toThrow(
    expect.objectContaining({ code: "ERR_OPTION_INVALID", message: expect.stringContaining(name) }),
  )
})

test("the measured rate covers only the minutes in which something was committed", () => {
  expect(rateOfMinutes([0, 0, 120, 0, 240])).toBe(3)
  expect(rateOfMinutes([0, 0])).toBe(0)
})
