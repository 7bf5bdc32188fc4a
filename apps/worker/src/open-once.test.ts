import { expect, test } from "vitest"
import { openOnce } from "./open-once.ts"

function setUp(wanted: string[]) {
  const log: string[] = []
  let fails = false
  const things = openOnce({
    async open(name: string) {
      log.push(`open ${name}`)
      if (fails) throw new Error("down")
      return name.toUpperCase()
    },
    close: async (one: string) => void log.push(`close ${one}`),
    wanted: () => wanted,
  })
  const fail = (is: boolean) => {
    fails = is
  }
  return { things, log, fail }
}

test("what is wanted is opened once, shared, and stays open", async () => {
  const { things, log } = setUp(["a"])
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

test("what nobody wants any more is closed when the last that holds it lets go, and not before", async () => {
  const wanted = ["a"]
  const { things, log } = setUp(wanted)
  const [one, two] = [things.hold("a"), things.hold("a")]
  await one.opened
  wanted.splice(0, 1, "b")
  one.release()
  one.release()
  const other = things.hold("b")
  await other.opened
  other.release()
  expect(log).toEqual(["open a", "open b"])
  two.release()
  await expect.poll(() => log).toEqual(["open a", "open b", "close A"])
})

test("what could not be opened is tried again by the next", async () => {
  const { things, log, fail } = setUp(["a"])
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
