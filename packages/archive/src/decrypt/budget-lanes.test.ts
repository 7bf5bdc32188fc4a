import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { never } from "../../../../test/harness/runs/archive-run.ts"
import { createByteBudget, type LaneBudgets, type PartMemory } from "./budget.ts"

const PART = 16 * 1024
const LANES = ["live", "bulk"] as const
type Lane = keyof LaneBudgets

const turn = () => new Promise(setImmediate)

/** Notes who got memory, in this order, and releases on request. */
function createLog() {
  const granted: { readonly name: string; readonly memory: PartMemory }[] = []
  return {
    get names() {
      return granted.map(({ name }) => name)
    },
    ask(name: string, budget: LaneBudgets[Lane], parts = 1) {
      void budget.acquire(parts * PART, never).then((memory) => granted.push({ name, memory }))
    },
    async release(name: string) {
      granted.find((one) => one.name === name)!.memory.release()
      await turn()
    },
  }
}

describe("a byte budget with two lanes", () => {
  it("serves a live part before all bulk parts that have waited longer", async () => {
    const { lanes } = createByteBudget(2 * PART, { bulkSharePercent: 0 })
    const log = createLog()
    for (const name of ["a", "b", "c"]) log.ask(name, lanes.bulk)
    log.ask("first", lanes.live)
    log.ask("second", lanes.live)
    await turn()
    // A quarter is not for bulk, so the first live part has found room.
    expect(log.names).toEqual(["a", "first"])
    await log.release("a")
    expect(log.names).toEqual(["a", "first", "second"])
    await log.release("first")
    expect(log.names).toEqual(["a", "first", "second", "b"])
  })

  it.each([
    { parts: 8, most: 6 },
    { parts: 3, most: 2 },
    { parts: 2, most: 1 },
    { parts: 1, most: 1 },
  ])("of $parts parts gives bulk alone at most $most", async ({ parts, most }) => {
    const budget = createByteBudget(parts * PART)
    for (let part = 0; part < parts; part++) void budget.lanes.bulk.acquire(PART, never)
    await turn()
    expect(budget.bulkUsed).toBe(most * PART)
    expect(budget.used).toBe(most * PART)
  })

  it("grants a bulk part that is larger than bulk's part of the memory, when no other bulk part holds any", async () => {
    const budget = createByteBudget(4 * PART)
    const log = createLog()
    log.ask("small", budget.lanes.bulk)
    log.ask("large", budget.lanes.bulk, 9)
    await turn()
    expect(log.names).toEqual(["small"])
    await log.release("small")
    expect(log.names).toEqual(["small", "large"])
    expect(budget.used).toBe(4 * PART)
  })

  it.each([
    { percent: 5, every: 20 },
    { percent: 20, every: 5 },
    { percent: 50, every: 2 },
  ])("gives bulk $percent % while live wants all", async ({ percent, every }) => {
    const { lanes } = createByteBudget(PART, { bulkSharePercent: percent })
    const log = createLog()
    log.ask("live 0", lanes.live)
    for (let index = 1; index <= 100; index++) {
      log.ask(`bulk ${index}`, lanes.bulk)
      log.ask(`live ${index}`, lanes.live)
    }
    await turn()
    for (let index = 0; index < 100; index++) await log.release(log.names[index]!)
    const turns = log.names.flatMap((name, index) => (name.startsWith("bulk") ? [index] : []))
    // The first grant met no bulk part that waited.
    expect(turns).toEqual(Array.from({ length: 100 / every }, (_, index) => (index + 1) * every))
  })

  it("saves nothing up for bulk parts that do not wait", async () => {
    const budget = createByteBudget(PART, { bulkSharePercent: 50 })
    const { lanes } = budget
    for (let index = 0; index < 100; index++) (await lanes.live.acquire(PART, never)).release()
    const log = createLog()
    log.ask("held", lanes.live)
    log.ask("bulk 1", lanes.bulk)
    log.ask("bulk 2", lanes.bulk)
    log.ask("live 1", lanes.live)
    log.ask("live 2", lanes.live)
    await turn()
    for (const name of ["held", "live 1", "bulk 1", "live 2", "bulk 2"]) {
      expect(log.names.at(-1)).toBe(name)
      await log.release(name)
    }
  })

  it("makes live wait for a large bulk part whose turn has come, instead of passing it by for ever", async () => {
    const { lanes } = createByteBudget(4 * PART, { bulkSharePercent: 50 })
    const log = createLog()
    for (const name of ["a", "b", "c", "d"]) log.ask(name, lanes.live)
    log.ask("large", lanes.bulk, 2)
    for (const name of ["e", "f", "g", "h"]) log.ask(name, lanes.live)
    await turn()
    for (const name of ["a", "b", "c"]) await log.release(name)
    expect(log.names).toEqual(["a", "b", "c", "d", "e", "f"])
    await log.release("d")
    expect(log.names.at(-1)).toBe("large")
    await log.release("e")
    expect(log.names.at(-1)).toBe("g")
  })

  it("lets later requests pass one that only its own limit holds back, unless they have the same limit", async () => {
    const budget = createByteBudget(4 * PART)
    const limited = budget.within(2 * PART)
    const log = createLog()
    log.ask("limited 1", limited.live)
    log.ask("limited 2", limited.live, 2)
    log.ask("limited 3", limited.live)
    log.ask("other", budget.lanes.live)
    await turn()
    expect(log.names).toEqual(["limited 1", "other"])
    expect(limited.bulk.holders).toBe(1)
    await log.release("limited 1")
    expect(log.names).toEqual(["limited 1", "other", "limited 2"])
    await log.release("limited 2")
    expect(log.names.at(-1)).toBe("limited 3")
  })

  type Step =
    | { readonly kind: "ask"; readonly lane: Lane; readonly limited: boolean; readonly parts: number }
    | { readonly kind: "release" | "abort"; readonly which: number }
  const ask: fc.Arbitrary<Step> = fc.record({
    kind: fc.constant("ask" as const),
    lane: fc.constantFrom(...LANES),
    limited: fc.boolean(),
    parts: fc.integer({ min: 1, max: 5 }),
  })
  const other: fc.Arbitrary<Step> = fc.record({
    kind: fc.constantFrom("release", "abort" as const),
    which: fc.nat(50),
  })

  it("never exceeds a limit, keeps the order of each lane, and serves everybody in the end", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 4 }),
        fc.constantFrom(0, 5, 50),
        fc.array(fc.oneof(ask, other), { maxLength: 60 }),
        async (parts, most, bulkSharePercent, steps) => {
          const budget = createByteBudget(parts * PART, { bulkSharePercent })
          const limited = budget.within(most * PART)
          interface Asked {
            readonly id: number
            readonly lane: Lane
            readonly limited: boolean
            readonly charged: number
            readonly abort: AbortController
            memory?: PartMemory
          }
          const asked: Asked[] = []
          const held: Asked[] = []
          const waits = new Set<Asked>()
          const sum = (of: (one: Asked) => boolean) =>
            held.filter(of).reduce((bytes, { charged }) => bytes + charged, 0)
          async function check() {
            await turn()
            expect(sum(() => true)).toBe(budget.used)
            expect(budget.used).toBeLessThanOrEqual(budget.limit)
            expect(sum(({ lane }) => lane === "bulk")).toBe(budget.bulkUsed)
            const bulkHolders = held.filter(({ lane }) => lane === "bulk").length
            if (bulkHolders > 1) expect(budget.bulkUsed).toBeLessThanOrEqual((3 / 4) * budget.limit)
            const ofLimited = held.filter((one) => one.limited)
            if (ofLimited.length > 1) expect(sum((one) => one.limited)).toBeLessThanOrEqual(most * PART)
            expect(budget.waiting).toBe(waits.size)
          }
          for (const step of steps) {
            if (step.kind === "ask") {
              const { lane, limited: isLimited } = step
              const bytes = step.parts * PART
              const abort = new AbortController()
              const one: Asked = {
                ...{ id: asked.length, lane, limited: isLimited, abort },
                charged: Math.min(2 ** Math.ceil(Math.log2(bytes)), budget.limit),
              }
              asked.push(one)
              waits.add(one)
              void (isLimited ? limited : budget.lanes)[lane].acquire(bytes, abort.signal).then(
                (memory) => {
                  one.memory = memory
                  waits.delete(one)
                  const earlier = [...waits].filter((each) => each.lane === lane && each.id < one.id)
                  // Only requests that their own limit held back may be passed.
                  for (const each of earlier) expect(each.limited && !one.limited).toBe(true)
                  held.push(one)
                },
                () => waits.delete(one),
              )
            } else if (step.kind === "release" && held.length > 0)
              held.splice(step.which % held.length, 1)[0]!.memory!.release()
            else if (step.kind === "abort" && waits.size > 0)
              [...waits][step.which % waits.size]!.abort.abort(new Error("enough"))
            await check()
          }
          for (let rounds = asked.length + 1; waits.size + held.length > 0; rounds--) {
            expect(rounds).toBeGreaterThan(0)
            expect(held.length).toBeGreaterThan(0)
            for (const { memory } of held.splice(0)) memory!.release()
            await check()
          }
          expect(budget.used).toBe(0)
        },
      ),
      { numRuns: 200 },
    )
  })

  it("makes no bulk part wait longer than its share allows, however live parts come and go", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(1, 5, 20, 50),
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 1, max: 4 }),
        async (bulkSharePercent, parts, sizes, wanted) => {
          const { lanes } = createByteBudget(parts * PART, { bulkSharePercent })
          const held: PartMemory[] = []
          let bytes = 0
          let isServed = false
          let waiting = 0
          const live = (index: number) => {
            const size = sizes[index % sizes.length]! * PART
            waiting++
            void lanes.live.acquire(size, never).then((memory) => {
              waiting--
              held.push(memory)
              if (!isServed) bytes += Math.min(2 ** Math.ceil(Math.log2(size)), parts * PART)
            })
          }
          for (let index = 0; index <= parts; index++) live(index)
          await turn()
          bytes = 0
          void lanes.bulk.acquire(wanted * PART, never).then(() => {
            isServed = true
          })
          const largest = parts * PART
          const bound = (largest * (100 - bulkSharePercent)) / bulkSharePercent + largest
          for (let index = parts + 1; !isServed; index++) {
            expect(bytes).toBeLessThanOrEqual(bound)
            while (waiting < 2) live(index)
            held.shift()?.release()
            await turn()
          }
        },
      ),
      { numRuns: 60 },
    )
  })
})
