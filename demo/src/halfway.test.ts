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
  // Several processes may report the same number.
  for (let done = 0; done <= count; done++) for (const _ of [1, 2]) note(done)
  expect(acted).toEqual(when)
})

test("it happens even if several were done since the last look", () => {
  const acted: number[] = []
  const note = atHalf(6, (done) => acted.push(done))
  for (const done of [0, 5, 6]) note(done)
  expect(acted).toEqual([5])
})
