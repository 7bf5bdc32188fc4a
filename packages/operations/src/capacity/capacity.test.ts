import { expect, test } from "vitest"
import { type Load, planCapacity } from "./capacity.ts"
import { FIGURES } from "./figures.ts"

const GB = 1e9

test("large archives are limited by workers, and those by the network", () => {
  const plan = planCapacity({ archivesPerHour: 1_000, archiveBytes: 2 * GB })
  expect(plan.bytesPerSecond).toBeCloseTo(555_555_556, 0)
  expect(plan.partsPerArchive).toBe(239)
  // 556 MB/s at 100 MB/s are 5.6 workers, and 8 if each is 70 % busy.
  expect(plan.workers).toMatchObject({ count: 8, memoryBytes: 8 * 256 * 2 ** 20 })
  expect(plan.workers.byNetwork).toBeCloseTo(5.56, 2)
  expect(plan.workers.byProcessor).toBeLessThan(plan.workers.byNetwork)
  expect(plan.stores).toMatchObject({ readsPerArchive: 242, writesPerArchive: 242, costPerMonth: null })
  expect(plan.limits[0]).toMatchObject({ name: "workers", atArchivesPerHour: 2_520 })
  expect(plan.redis.queues).toBe(1)
})

test("a million small archives an hour are limited by Redis' memory at first, then by its processor", () => {
  const load = { archivesPerHour: 1_000_000, archiveBytes: 1_000_000, storeLatencyMs: 5 }
  const plan = planCapacity(load)
  expect(plan.redis.memoryBytes).toBeCloseTo(
    20e6 + 1e6 * (FIGURES.waitingBytes.value + FIGURES.keptBytes.value),
    0,
  )
  expect(plan.redis.maxmemoryBytes).toBeCloseTo(plan.redis.memoryBytes / 0.8, 0)
  expect(plan.limits[0]).toMatchObject({ name: "redis memory" })
  expect(plan.limits[0]!.share).toBeGreaterThan(1)
  const more = planCapacity({
    ...load,
    archivesPerHour: 60_000_000,
    redisBytes: 1e12,
    workerBytesPerSecond: 1e12,
  })
  const processor = more.limits.find(({ name }) => name === "redis processor")!
  expect(processor.share).toBeGreaterThan(1)
  expect(more.redis.queues).toBe(Math.ceil(processor.share / 0.7))
  // 16,667 a second, of 9,063 for each process.
  expect(more.ingest.count).toBe(3)
})

test("distance counts: small archives wait for round trips, not for bytes", () => {
  const near = planCapacity({ archivesPerHour: 100_000, archiveBytes: 100_000, storeLatencyMs: 1 })
  const far = planCapacity({ archivesPerHour: 100_000, archiveBytes: 100_000, storeLatencyMs: 200 })
  expect(near.workers.count).toBe(2)
  // 27.8 a second, of 4 requests in turn of 0.2 s, 8 at once.
  expect(far.workers.byRoundTrips).toBeCloseTo(((100_000 / 3_600) * 4 * 0.2) / 8, 6)
  expect(far.workers.count).toBe(4)
})

test("the load at which a limit is reached reaches it", () => {
  const load: Load = {
    archivesPerHour: 50_000,
    archiveBytes: 30e6,
    workerBytesPerSecond: 1e12,
    storeLatencyMs: 1,
  }
  for (const { name, atArchivesPerHour } of planCapacity(load).limits) {
    const there = planCapacity({ ...load, archivesPerHour: atArchivesPerHour })
    expect(there.limits.find((limit) => limit.name === name)!.share).toBeCloseTo(1, 6)
  }
})

test("prices are for requests and for bytes, both ways, of a month", () => {
  const load = { archivesPerHour: 100, archiveBytes: GB }
  const requests = planCapacity({ ...load, prices: { perThousandReads: 0.4, perThousandWrites: 5 } }).stores
  expect(requests.costPerMonth).toBeCloseTo((100 * 730 * requests.readsPerArchive * 5.4) / 1_000, 6)
  expect(planCapacity({ ...load, prices: { perGigabyte: 0.01 } }).stores.costPerMonth).toBeCloseTo(
    100 * 730 * 0.02,
    6,
  )
})

test("parts grow where a store takes no more of them", () => {
  expect(planCapacity({ archivesPerHour: 1, archiveBytes: 1 }).partsPerArchive).toBe(1)
  expect(planCapacity({ archivesPerHour: 1, archiveBytes: 8_389_312 }).partsPerArchive).toBe(1)
  expect(planCapacity({ archivesPerHour: 1, archiveBytes: 8_389_313 }).partsPerArchive).toBe(2)
  expect(planCapacity({ archivesPerHour: 1, archiveBytes: 1e12 }).partsPerArchive).toBe(10_000)
})

test.for<[string, Partial<Load>]>([
  ["archives per hour", { archivesPerHour: 0 }],
  ["archives per hour", { archivesPerHour: Number.NaN }],
  ["the size of an archive", { archiveBytes: -1 }],
  ["the hours of an outage", { outageHours: Number.POSITIVE_INFINITY }],
  ["Redis' memory", { redisBytes: 0 }],
  ["a worker's bytes", { workerBytesPerSecond: 0 }],
  ["the latency", { storeLatencyMs: -1 }],
  ["a price", { prices: { perGigabyte: -1 } }],
])("%s that can't be is refused by name: %o", ([name, wrong], { expect }) => {
  const plan = () => planCapacity({ archivesPerHour: 1, archiveBytes: 1, ...wrong })
  expect(plan).toThrow(
    expect.objectContaining({ code: "ERR_OPTION_INVALID", message: expect.stringContaining(name) }),
  )
})
