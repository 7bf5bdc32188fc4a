import { describe, expect, it } from "vitest"
import { readCommands } from "./append-only-file.ts"

const command = (...words: string[]): string =>
  `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`
const before = command("SELECT", "0") + command("set", "a", "1")
const multi = command("MULTI")
const rest = command("SET", "b", "\r\n*1\r\n") + command("EXEC")
const file = before + multi + rest
const at = (size: number) => readCommands(Buffer.from(file.slice(0, size)))

describe("the commands of an append-only file", () => {
  it("are all read if all are whole", () => {
    const transactions = [{ start: before.length + multi.length, end: file.length }]
    expect(at(file.length)).toEqual({ whole: file.length, transactions })
  })

  it("end with the last whole command or transaction, wherever the file was cut", () => {
    for (let size = before.length; size < file.length; size++)
      expect(at(size)).toEqual({ whole: before.length, transactions: [] })
    for (let size = command("SELECT", "0").length; size < before.length; size++)
      expect(at(size).whole).toBe(command("SELECT", "0").length)
    expect(at(3)).toEqual({ whole: 0, transactions: [] })
    expect(at(0)).toEqual({ whole: 0, transactions: [] })
  })

  it("end before anything that is not a command, such as the preamble of a snapshot", () => {
    expect(readCommands(Buffer.from("REDIS0010"))).toEqual({ whole: 0, transactions: [] })
  })
})
