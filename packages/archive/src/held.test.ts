import { describe, expect, it } from "vitest"
import { AsyncHeld, Held } from "./held.ts"

describe("what is held", () => {
  it("is released when the scope ends, the last first", async () => {
    const released: string[] = []
    {
      using held = new Held()
      held.defer(() => released.push("first"))
      held.defer(() => released.push("second"))
      expect(released).toEqual([])
    }
    expect(released).toEqual(["second", "first"])
    {
      await using held = new AsyncHeld()
      held.defer(async () => void released.push("third"))
      held.defer(() => new Promise((done) => setTimeout(() => done(void released.push("slow fourth")), 10)))
    }
    expect(released).toEqual(["second", "first", "slow fourth", "third"])
  })

  it("is released although another release fails, whose error is thrown", async () => {
    const released: string[] = []
    const fail = () => {
      throw new Error("stuck")
    }
    expect(() => {
      using held = new Held()
      held.defer(() => released.push("sync"))
      held.defer(fail)
    }).toThrow("stuck")
    const scope = async () => {
      await using held = new AsyncHeld()
      held.defer(() => void released.push("async"))
      held.defer(async () => fail())
    }
    await expect(scope()).rejects.toThrow("stuck")
    expect(released).toEqual(["sync", "async"])
  })

  it("is released once", () => {
    let released = 0
    const held = new Held()
    held.defer(() => released++)
    held[Symbol.dispose]()
    held[Symbol.dispose]()
    expect(released).toBe(1)
  })
})
