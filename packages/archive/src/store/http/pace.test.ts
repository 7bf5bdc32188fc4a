import { expect, test } from "vitest"
import { createPace, FLOOR_BYTES_PER_SECOND } from "./pace.ts"

test("a peer gets its allowance plus a second per 4096 bytes, and only while bytes are wanted", () => {
  let now = 0
  const pace = createPace(60_000, undefined, () => now)
  now = 1_000_000
  expect(pace.leftMs()).toBe(60_000)
  pace.run()
  now += 50_000
  expect([pace.moved(0), pace.leftMs()]).toEqual([true, 10_000])
  pace.hold()
  now += 1_000_000
  expect(pace.leftMs()).toBe(10_000)
  pace.run()
  pace.run()
  now += 9_000
  expect(pace.leftMs(FLOOR_BYTES_PER_SECOND)).toBe(2_000)
  expect([pace.moved(2 * FLOOR_BYTES_PER_SECOND), pace.leftMs()]).toEqual([true, 3_000])
  now += 3_000
  expect([pace.moved(0), pace.leftMs()]).toEqual([false, 0])
})

test("a body that drips is cut after one window of the peer's time, and one of 3 kB/s goes on", () => {
  let now = 0
  const read = (bytesPerSecond: number, holdMs: number) => {
    const pace = createPace(300_000, undefined, () => now, 30_000)
    pace.run()
    // The first byte may be late.
    now += 29_000
    for (let second = 0; second < 200; second++) {
      if (!pace.moved(bytesPerSecond)) return second
      pace.hold()
      now += holdMs
      pace.run()
      now += 1_000
    }
    return null
  }
  expect([read(200, 0), read(1_900, 60_000), read(3_000, 60_000)]).toEqual([30, 30, null])
})

test("each stage has windows of its own, and a head must be whole within one", () => {
  let now = 0
  const pace = createPace(300_000, undefined, () => now, 30_000)
  pace.run()
  expect(pace.windowLeftMs("request")).toBe(30_000)
  now = 29_000
  expect([pace.moved(1, "request"), pace.windowLeftMs("request")]).toEqual([true, 1_000])
  // The answer begins late, and its body later.
  now = 58_000
  expect(pace.moved(0, "head")).toBe(true)
  now = 87_000
  expect(pace.moved(1, "body")).toBe(true)
  now = 116_000
  expect(pace.moved(1, "body")).toBe(true)
  now = 117_000
  expect(pace.moved(1, "body")).toBe(false)
  expect(pace.moved(0, "head")).toBe(true)
  now = 147_000
  expect(pace.moved(0, "head")).toBe(false)
})
