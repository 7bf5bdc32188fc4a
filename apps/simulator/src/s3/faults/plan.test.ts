import { describe, expect, it } from "vitest"
import { FaultPlan } from "./plan.ts"

const strikes = (plan: FaultPlan, count: number): boolean[] =>
  Array.from({ length: count }, () => plan.strike("GetObject", "key") !== undefined)

describe("a fault rule", () => {
  it("strikes once unless told otherwise, and counts", () => {
    const plan = new FaultPlan(1)
    const fault = plan.add({ operation: "GetObject", action: { reset: true } })
    expect(strikes(plan, 3)).toEqual([true, false, false])
    expect(fault.hits).toBe(1)
  })

  it("lets the first matching requests pass, then strikes as often as configured", () => {
    const plan = new FaultPlan(1)
    plan.add({ operation: "*", after: 2, times: 2, action: { hang: true } })
    expect(strikes(plan, 6)).toEqual([false, false, true, true, false, false])
  })

  it("matches by operation, by the whole key and by a pattern, global or not", () => {
    const plan = new FaultPlan(1)
    plan.add({ operation: "PutObject", key: "key", times: Infinity, action: { status: 500 } })
    plan.add({ operation: "GetObject", key: /^a\//g, times: Infinity, action: { status: 503 } })
    expect(plan.strike("GetObject", "key")).toBeUndefined()
    expect(plan.strike("PutObject", "key2")).toBeUndefined()
    expect(plan.strike("PutObject", "key")).toEqual({ status: 500 })
    expect(plan.strike("GetObject", "a/b")).toEqual({ status: 503 })
    expect(plan.strike("GetObject", "a/b")).toEqual({ status: 503 })
    expect(plan.strike("GetObject", "b/a/")).toBeUndefined()
  })

  it("with a probability strikes the same requests in every run of a seed, and others with another seed", () => {
    const run = (seed: number) => {
      const plan = new FaultPlan(seed)
      plan.add({ operation: "*", probability: 0.3, times: Infinity, action: { reset: true } })
      return strikes(plan, 1000)
    }
    expect(run(7)).toEqual(run(7))
    expect(run(7)).not.toEqual(run(8))
    const hits = run(7).filter(Boolean).length
    expect(hits).toBeGreaterThan(230)
    expect(hits).toBeLessThan(370)
  })

  it("draws the same numbers whatever other rules match", () => {
    const run = (others: boolean) => {
      const plan = new FaultPlan(7)
      const fault = plan.add({
        operation: "GetObject",
        probability: 0.5,
        times: Infinity,
        action: { reset: true },
      })
      if (others) plan.add({ operation: "*", probability: 0.5, times: Infinity, action: { delayMs: 1 } })
      for (let i = 0; i < 100; i++) plan.strike("GetObject", "key")
      return fault.hits
    }
    expect(run(true)).toBe(run(false))
  })

  it("ends when it is removed, and all end when the plan is cleared", () => {
    const plan = new FaultPlan(1)
    const fault = plan.add({ operation: "*", times: Infinity, action: { reset: true } })
    fault.remove()
    plan.add({ operation: "*", action: { hang: true } })
    plan.clear()
    expect(strikes(plan, 2)).toEqual([false, false])
  })

  it("merges with the other rules that match a request", () => {
    const plan = new FaultPlan(1)
    plan.add({ operation: "*", action: { delayMs: 5 } })
    plan.add({ operation: "*", action: { status: 503 } })
    expect(plan.strike("HeadObject", "key")).toEqual({ delayMs: 5, status: 503 })
  })

  it("is refused if it has no action or can never strike", () => {
    const plan = new FaultPlan(1)
    expect(() => plan.add({ operation: "*", action: {} })).toThrow(RangeError)
    expect(() => plan.add({ operation: "*", times: 0, action: { hang: true } })).toThrow(RangeError)
  })
})
