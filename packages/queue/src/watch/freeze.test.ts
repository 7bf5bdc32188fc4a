import { afterEach, beforeEach, expect, test } from "vitest"
import { createFreezeWatch, type FreezeWatch } from "./freeze.ts"

let watch: FreezeWatch
let time: number
let worked: number
let frozen: number[]
beforeEach(() => {
  time = 1_000
  worked = 50
  frozen = []
  const onFroze = (blockedMs: number) => frozen.push(blockedMs)
  // Its own look comes every second, which no test here takes.
  watch = createFreezeWatch({ lockMs: 60_000, onFroze, now: () => time, cpu: () => worked })
})
afterEach(() => watch.close())

function pass(ms: number, workedMs: number): number[] {
  time += ms
  worked += workedMs
  watch.check()
  return frozen.splice(0)
}

test("a loop that was blocked for longer than the lock is reported once, when it moves again", () => {
  expect(pass(1_000, 900)).toEqual([])
  expect(pass(75_000, 74_000)).toEqual([74_000])
  expect(pass(1_000, 900)).toEqual([])
})

test("a loop that was blocked for less than the lock is not reported", () => {
  expect(pass(61_000, 61_000)).toEqual([])
  expect(pass(61_000, 61_000)).toEqual([])
})

test("a stopped process was not blocked by its work, but one on an overloaded machine was", () => {
  expect(pass(3_600_000, 5)).toEqual([])
  expect(pass(121_000, 20_000)).toEqual([120_000])
})

test("looks by itself, with this thread's own clocks", async () => {
  watch.close()
  watch = createFreezeWatch({ lockMs: 100, onFroze: (blockedMs) => frozen.push(blockedMs) })
  for (const end = performance.now() + 400; performance.now() < end; );
  await expect.poll(() => frozen.length, { timeout: 5_000 }).toBeGreaterThanOrEqual(1)
  expect(frozen[0]).toBeGreaterThan(100)
})
