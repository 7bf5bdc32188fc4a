import { expect, test } from "vitest"
import { atHalf } from "./halfway.ts"

test.each([
  [6, [3]],
  [12, [6]],
  [7, [3]],
  [1, [0]],
])("of %i, it happens once, half-way", (count, when) => {
  const acted: number[] = []
  const note = atHalf(count, (done) => acted.push(done))
  // Lines of several processes tell of one number more than once.
  for (let done = 0; done <= count; done++) for (const _ of [1, 2]) note(done)
  expect(acted).toEqual(when)
})

test("it happens although several were done since anybody looked", () => {
  const acted: number[] = []
  const note = atHalf(6, (done) => acted.push(done))
  for (const done of [0, 5, 6]) note(done)
  expect(acted).toEqual([5])
})
