import { expect, test } from "vitest"
import { createSharedPool } from "./shared-pool.ts"

function setUp(...names: string[]) {
  const log: string[] = []
  let fails = false
  let wanted = new Set(names)
  const things = createSharedPool({
    async open(name: string) {
      log.push(`open ${name}`)
      if (fails) throw new Error("down")
      return name.toUpperCase()
    },
    close: async (one: string) => void log.push(`close ${one}`),
    wanted: () => wanted,
  })
  const want = (...names: string[]) => {
    wanted = new Set(names)
  }
  const fail = (is: boolean) => {
    fails = is
  }
  return { things, log, fail, want }
}

test("a wanted name is opened once, shared, and stays open", async () => {
  const { things, log } = setUp("a")
  const [one, two] = [things.hold("a"), things.hold("a")]
  expect(await one.opened).toBe("A")
  expect(await two.opened).toBe("A")
  one.release()
  two.release()
  expect(await things.hold("a").opened).toBe("A")
  expect(log).toEqual(["open a"])
  await things.close()
  expect(log).toEqual(["open a", "close A"])
})

test("an unwanted one is closed when its last holder releases it, and not before", async () => {
  const { things, log, want } = setUp("a")
  const [one, two] = [things.hold("a"), things.hold("a")]
  await one.opened
  want("b")
  one.release()
  one.release()
  const other = things.hold("b")
  await other.opened
  other.release()
  expect(log).toEqual(["open a", "open b"])
  two.release()
  await expect.poll(() => log).toEqual(["open a", "open b", "close A"])
})

test("lists what is open, but neither what is being opened nor what failed to open", async () => {
  const { things, fail } = setUp("a", "b", "c")
  await things.hold("a").opened
  const second = things.hold("b")
  expect(things.open()).toEqual([["a", "A"]])
  await second.opened
  fail(true)
  await things.hold("c").opened.catch(() => {})
  expect(things.open()).toEqual([
    ["a", "A"],
    ["b", "B"],
  ])
})

test("the next holder retries what could not be opened", async () => {
  const { things, log, fail } = setUp("a")
  fail(true)
  const first = things.hold("a")
  await expect(first.opened).rejects.toThrow("down")
  fail(false)
  const second = things.hold("a")
  first.release()
  expect(await second.opened).toBe("A")
  await things.close()
  expect(log).toEqual(["open a", "open a", "close A"])
})

test("one that was idle when it ceased to be wanted is closed by the next release", async () => {
  const { things, log, want } = setUp("a", "b")
  things.hold("a").release()
  want("b")
  things.hold("b").release()
  await expect.poll(() => log).toEqual(["open a", "open b", "close A"])
})

test("a release looks at no other name, however many there are", async () => {
  const names = Array.from({ length: 5_000 }, (_, index) => `n${index}`)
  let looked = 0
  const wanted = new (class extends Set<string> {
    override has(name: string) {
      looked++
      return super.has(name)
    }
  })(names)
  const things = createSharedPool({ open: async (name) => name, close: async () => {}, wanted: () => wanted })
  for (const name of names) things.hold(name).release()
  looked = 0
  things.hold("n0").release()
  expect(looked).toBe(1)
})

function setUpLate() {
  const opening = Promise.withResolvers<string>()
  const log: string[] = []
  const things = createSharedPool({
    open: () => opening.promise,
    close: async (one: string) => void log.push(`close ${one}`),
    wanted: () => new Set(["a"]),
  })
  return { things, log, opening }
}

test("what opens after its holder has given up serves the next one, and is closed at the end", async () => {
  const { things, log, opening } = setUpLate()
  things.hold("a").release()
  opening.resolve("A")
  const next = things.hold("a")
  expect(await next.opened).toBe("A")
  next.release()
  expect(log).toEqual([])
  await things.close()
  expect(log).toEqual(["close A"])
})

test("the end does not wait for what hangs while it opens, and closes it if it opens after all", async () => {
  const { things, log, opening } = setUpLate()
  things.hold("a").release()
  await things.close()
  opening.resolve("A")
  await expect.poll(() => log).toEqual(["close A"])
})

test("what is opened after the end is closed by its last holder", async () => {
  const { things, log } = setUp("a")
  await things.close()
  const [one, two] = [things.hold("a"), things.hold("a")]
  await one.opened
  one.release()
  two.release()
  await expect.poll(() => log).toEqual(["open a", "close A"])
})
