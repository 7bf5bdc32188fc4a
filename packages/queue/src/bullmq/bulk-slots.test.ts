import type { Job } from "bullmq"
import { expect, test } from "vitest"
import { bulkSlotsOf, createBulkSlots } from "./bulk-slots.ts"

const job = (data: unknown) => ({ data }) as Job
const bulk = () => job({ lane: "bulk" })

test.each([
  [1, 1],
  [2, 1],
  [3, 2],
  [4, 3],
  [8, 6],
  [100, 75],
])("of %i slots, bulk may hold %i", (concurrency, most) => {
  expect(bulkSlotsOf(concurrency)).toBe(most)
  const slots = createBulkSlots(concurrency)
  for (let held = 0; held < most; held++) {
    expect(slots.areFull).toBe(false)
    slots.taken(bulk())
  }
  // A worker with one slot asks for a job only while it has none.
  expect(slots.areFull).toBe(concurrency > 1)
  expect(slots.used).toBe(most)
})

test("a job that is being requested may be a bulk job", () => {
  const slots = createBulkSlots(2)
  const asked = slots.ask()
  expect([slots.areFull, slots.used]).toEqual([true, 0])
  asked()
  asked()
  expect(slots.areFull).toBe(false)
  const last = bulk()
  slots.taken(last)
  expect(slots.areFull).toBe(true)
  slots.ended(last)
  slots.ended(last)
  expect([slots.areFull, slots.used]).toEqual([false, 0])
})

test("live jobs, those of version 0.1.0 and damaged ones hold no slot of bulk", () => {
  const slots = createBulkSlots(2)
  for (const data of [{ lane: "live" }, { projectId: "1" }, {}, null, undefined, 7, "bulk", ["bulk"]])
    slots.taken(job(data))
  expect(slots.used).toBe(0)
})
