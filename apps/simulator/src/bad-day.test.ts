import { expect, test } from "vitest"
import { createBadDay } from "./bad-day.ts"

test("loses every n-th callback and refuses every n-th request, from the moment it is told to", () => {
  const day = createBadDay({ loseCallbacksEvery: 0, delayCallbacksMs: 0, refuseRequestsEvery: 2 }, null)
  const lost = (count: number) => Array.from({ length: count }, () => day.nextCallback().lost)
  expect(lost(2)).toEqual([false, false])
  expect([1, 2, 3, 4].map(day.refuses)).toEqual([false, true, false, true])
  day.change({ loseCallbacksEvery: 3, delayCallbacksMs: 50 })
  expect(lost(4)).toEqual([true, false, false, true])
  expect(day.nextCallback()).toEqual({ lost: false, delayMs: 50 })
  expect(day.state()).toEqual({
    ...{ quirks: null, loseCallbacksEvery: 3 },
    ...{ delayCallbacksMs: 50, refuseRequestsEvery: 2 },
  })
})
