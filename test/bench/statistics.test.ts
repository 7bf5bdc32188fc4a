import { expect, it } from "vitest"
import { percentileOf, show, spreadOf } from "./statistics.ts"

it("gives the middle value of an odd number of runs and the mean of the middle two of an even number", () => {
  expect(spreadOf([5, 1, 100])).toEqual({ median: 5, min: 1, max: 100 })
  expect(spreadOf([4, 1, 100, 2])).toEqual({ median: 3, min: 1, max: 100 })
})

it("shows a range only where there is one", () => {
  expect(show({ median: 2.04, min: 1.5, max: 9 }, 1)).toBe("2.0 (1.5–9.0)")
  expect(show(spreadOf([7]), 0)).toBe("7")
})

it("a percentile is a value that was measured", () => {
  const values = Array.from({ length: 200 }, (_, index) => 200 - index)
  expect([0, 50, 99, 99.9, 100].map((percent) => percentileOf(values, percent))).toEqual([
    1, 100, 198, 200, 200,
  ])
  expect(percentileOf([7], 99)).toBe(7)
})
