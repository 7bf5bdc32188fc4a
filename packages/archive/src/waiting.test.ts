import { getEventListeners } from "node:events"
import { describe, expect, it } from "vitest"
import { allEnded, createTurns, untilAborted } from "./waiting.ts"

const never = new Promise<never>(() => {})
const aborted = AbortSignal.abort(new Error("enough"))

describe("untilAborted", () => {
  it("ends with the signal's reason, before the wait and during it", async () => {
    await expect(untilAborted(never, aborted)).rejects.toThrow("enough")
    const controller = new AbortController()
    const waiting = untilAborted(never, controller.signal)
    controller.abort(new Error("late"))
    await expect(waiting).rejects.toThrow("late")
  })

  it("checks the signal first, even if the work fails", async () => {
    await expect(untilAborted(Promise.reject(new Error("work")), aborted)).rejects.toThrow("enough")
  })

  it("gives the result of the work, and leaves no listener behind", async () => {
    const { signal } = new AbortController()
    expect(await untilAborted(Promise.resolve(1), signal)).toBe(1)
    await expect(untilAborted(Promise.reject(new Error("work")), signal)).rejects.toThrow("work")
    expect(getEventListeners(signal, "abort")).toEqual([])
  })
})

describe("allEnded", () => {
  it("rejects with the first failure only when all have ended", async () => {
    const slow = Promise.withResolvers<void>()
    let isOver = false
    const all = allEnded([
      slow.promise,
      Promise.reject(new Error("first")),
      Promise.reject(new Error("second")),
    ])
    all.catch(() => {}).finally(() => (isOver = true))
    await new Promise(setImmediate)
    expect(isOver).toBe(false)
    slow.resolve()
    await expect(all).rejects.toThrow("first")
  })

  it("gives the results in their order", async () => {
    expect(await allEnded([Promise.resolve(1), "two"])).toEqual([1, "two"])
  })
})

describe("turns", () => {
  it("come in order, whatever the order of requests", async () => {
    const { signal } = new AbortController()
    const turns = createTurns()
    const passed: number[] = []
    await Promise.all(
      [3, 1, 2].map(async (number) => {
        await turns.of(number, signal)
        passed.push(number)
        turns.pass()
      }),
    )
    expect(passed).toEqual([1, 2, 3])
    expect(getEventListeners(signal, "abort")).toEqual([])
  })

  it("do not come for a signal that is aborted, before or while waiting", async () => {
    const turns = createTurns()
    await expect(turns.of(1, aborted)).rejects.toThrow("enough")
    await expect(turns.of(2, aborted)).rejects.toThrow("enough")
    const controller = new AbortController()
    const waiting = turns.of(2, controller.signal)
    controller.abort(new Error("late"))
    await expect(waiting).rejects.toThrow("late")
  })
})
