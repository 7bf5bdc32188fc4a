import { expect, it } from "vitest"
import { show, spreadOf } from "./statistics.ts"

it("gives the middle value of an odd number of runs and the mean of the middle two of an even number", () => {
  expect(spreadOf([5, 1, 100])).toEqual({ median: 5, min: 1, max: 100 })
  expect(spreadOf([4, 1, 100, 2])).toEqual({ median: 3, min: 1, max: 100 })
})

it("shows a range only where there is one", () => {
  expect(show({ median: 2.04, min: 1.5, max: 9 }, 1)).toBe("2.0 (1.5–9.0)")
  expect(show(spreadOf([7]), 0)).toBe("7")
})
