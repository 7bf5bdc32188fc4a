import { expect, it } from "vitest"
import { readOptions } from "./options.ts"

const known = ["large", "memory"]

it("runs every chapter unless some are named", () => {
  expect(readOptions([], known).chapters).toEqual(known)
  expect(readOptions(["--chapter", "memory"], known).chapters).toEqual(["memory"])
  expect(readOptions(["--chapter", "memory,large"], known).chapters).toEqual(["memory", "large"])
})

it("takes small sizes and one round for the quick form, unless told otherwise", () => {
  expect(readOptions(["--quick"], known)).toMatchObject({ rounds: 1, archiveBytes: 128 * 2 ** 20 })
  expect(readOptions(["--quick", "--rounds", "3", "--size", "64"], known)).toMatchObject({
    rounds: 3,
    archiveBytes: 64 * 2 ** 20,
  })
})

it.each([
  [["--chapter", "larg"], 'there is no chapter "larg"'],
  [["--rounds", "0"], "--rounds must be a whole number"],
  [["--env", "=1"], "--env must be NAME=VALUE"],
  [["--fast"], "--fast"],
])("refuses %j", (args, message) => {
  expect(() => readOptions(args, known)).toThrow(message)
})
