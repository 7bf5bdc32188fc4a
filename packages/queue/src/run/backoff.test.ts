import { expect, test } from "vitest"
import { objectWaitDelayMs, retryDelayMs } from "./backoff.ts"

test("attempts are 1 s apart at first, doubling to 15 min", () => {
  const middle = () => 0.5
  expect([1, 2, 3, 10, 11, 12, 100].map((made) => retryDelayMs(made, middle))).toEqual([
    1_000, 2_000, 4_000, 512_000, 900_000, 900_000, 900_000,
  ])
})

test("jitter spreads a delay from half to one and a half", () => {
  expect(retryDelayMs(3, () => 0)).toBe(2_000)
  expect(retryDelayMs(3, () => 0.999)).toBeLessThan(6_000)
})

test("an object is looked for at least every 10 s in the first hour, and then less and less often", () => {
  expect(objectWaitDelayMs(0)).toBe(1_000)
  expect(objectWaitDelayMs(50_000)).toBe(5_000)
  for (let waited = 0; waited <= 3_600_000; waited += 7_000)
    expect(objectWaitDelayMs(waited)).toBeLessThan(10_000)
  expect(objectWaitDelayMs(2 * 3_600_000)).toBe(60_000)
  expect(objectWaitDelayMs(23 * 3_600_000)).toBe(300_000)
})
