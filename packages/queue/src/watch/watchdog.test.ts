import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { createWatchdog, type RunStuckError, type Watchdog } from "./watchdog.ts"

let watchdog: Watchdog
let hung: string[]
let stuck: string[]
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance", "Date"] })
  hung = []
  stuck = []
  watchdog = createWatchdog({ onHung: (error) => hung.push(error.message) })
})
afterEach(() => {
  watchdog.close()
  vi.useRealTimers()
})
const MINUTE = 60_000
const watch = (name: string) =>
  watchdog.watch(name, (reason: RunStuckError) => stuck.push(`${name}: ${reason.message}`))

test("a run without a step, a part or a byte for ten minutes is aborted once, saying what it waited for", () => {
  const { progress } = watch("a")
  progress.begin("looking at the source")()
  progress.begin("reading part 3", "part")
  progress.begin("writing part 2", "part")
  progress.begin("writing part 2", "part")
  vi.advanceTimersByTime(10 * MINUTE)
  expect(stuck).toEqual([])
  vi.advanceTimersByTime(10_000)
  expect(stuck).toEqual(["a: no part, no step and no byte for 610 s while reading part 3, writing part 2"])
  vi.advanceTimersByTime(30_000)
  expect([stuck.length, hung]).toEqual([1, []])
})

test("it tells how long each run stands still; one that waits for others moves with them", () => {
  expect(watchdog.idleMs()).toEqual([])
  const { progress } = watch("a")
  watch("b").progress.begin("waiting for memory", "shared")
  vi.advanceTimersByTime(2 * MINUTE)
  expect(watchdog.idleMs()).toEqual([2 * MINUTE, 2 * MINUTE])
  progress.moved()
  vi.advanceTimersByTime(MINUTE)
  expect(watchdog.idleMs()).toEqual([MINUTE, MINUTE])
})

test("a run that has not begun anything is watched, too", () => {
  watch("a")
  vi.advanceTimersByTime(11 * MINUTE)
  expect(stuck).toEqual(["a: no part, no step and no byte for 610 s while between two steps"])
})

test("bytes, and steps that begin or end, are progress; a run that ended is not watched", () => {
  const { progress, end } = watch("a")
  const over = progress.begin("reading part 1", "part")
  vi.advanceTimersByTime(9 * MINUTE)
  progress.moved()
  vi.advanceTimersByTime(9 * MINUTE)
  over()
  vi.advanceTimersByTime(9 * MINUTE)
  progress.begin("committing")
  vi.advanceTimersByTime(9 * MINUTE)
  expect(stuck).toEqual([])
  end()
  vi.advanceTimersByTime(60 * MINUTE)
  expect([stuck, hung]).toEqual([[], []])
})

test("a run that does not end after its abort is reported once its grace is over", () => {
  const { progress } = watch("job 7")
  progress.begin("hashing part 2", "part")
  vi.advanceTimersByTime(10 * MINUTE + 10_000)
  expect(hung).toEqual([])
  vi.advanceTimersByTime(70_000)
  expect(hung).toEqual(["a run that is stuck did not end within 60 s after its abort: job 7, hashing part 2"])
  vi.advanceTimersByTime(60 * MINUTE)
  expect(hung).toHaveLength(1)
})

test("a run that waits for memory of a slow archive is not stuck while that archive moves", () => {
  const [slow, waiting] = [watch("slow"), watch("waiting")]
  slow.progress.begin("reading part 1", "part")
  waiting.progress.begin("waiting for memory", "shared")
  for (let minute = 0; minute < 60; minute++) {
    vi.advanceTimersByTime(MINUTE)
    slow.progress.moved()
  }
  expect(stuck).toEqual([])
  // Both stop at once: the one that holds the memory is stuck, and its end lets the other go on.
  vi.advanceTimersByTime(10 * MINUTE + 10_000)
  expect(stuck).toEqual([expect.stringMatching(/^slow: /)])
  slow.end()
  vi.advanceTimersByTime(9 * MINUTE)
  expect(stuck).toHaveLength(1)
  vi.advanceTimersByTime(2 * MINUTE)
  expect(stuck[1]).toBe("waiting: no part, no step and no byte for 610 s while waiting for memory")
})

test("a run that waits for memory and for a store of its own is stuck, whatever others do", () => {
  const [busy, mixed] = [watch("busy"), watch("mixed")]
  mixed.progress.begin("writing part 1", "part")
  mixed.progress.begin("waiting for memory", "shared")
  for (let minute = 0; minute < 11; minute++) {
    vi.advanceTimersByTime(MINUTE)
    busy.progress.moved()
  }
  expect(stuck).toEqual([expect.stringMatching(/^mixed: .* while writing part 1, waiting for memory$/)])
})

test("if parts usually take minutes, a run has twenty times as long", () => {
  const { progress } = watch("a")
  for (let part = 0; part < 200; part++) {
    const over = progress.begin(`writing part ${part}`, "part")
    vi.advanceTimersByTime(2 * MINUTE)
    over()
  }
  progress.begin("writing part 200", "part")
  vi.advanceTimersByTime(39 * MINUTE)
  expect(stuck).toEqual([])
  vi.advanceTimersByTime(2 * MINUTE)
  expect(stuck).toHaveLength(1)
})

test("a process that was stopped for an hour finds no run stuck", () => {
  watch("a").progress.begin("reading part 1", "part")
  vi.advanceTimersByTime(MINUTE)
  // As after SIGCONT: the clock has advanced, and no timer has fired.
  vi.setSystemTime(Date.now() + 60 * MINUTE)
  const jumped = vi.spyOn(performance, "now").mockReturnValue(performance.now() + 60 * MINUTE)
  vi.advanceTimersByTime(10_000)
  expect(stuck).toEqual([])
  jumped.mockRestore()
})
