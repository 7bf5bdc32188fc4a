import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { readSecretFile } from "./settings/environment.ts"
import { readTextFile } from "./text-file.ts"

let directory: string
const path = (name: string) => join(directory, name)
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "unseal-small-"))
  execFileSync("mkfifo", [path("pipe")])
  symlinkSync("/dev/zero", path("zeros"))
  mkdirSync(path("directory"))
  writeFileSync(path("large"), Buffer.alloc(1024 * 1024 + 1, "x"))
  writeFileSync(path("secret"), "s3cret\n")
})
afterAll(() => rmSync(directory, { recursive: true }))

test.each([
  ["pipe", "not a regular file"],
  ["zeros", "not a regular file"],
  ["directory", "a directory"],
  ["large", "more than 1048576 bytes"],
  ["absent", "ENOENT"],
])("a secret is not read from what is no file of a sensible size: %s", (name, reason) => {
  const problems: string[] = []
  expect(readSecretFile(path(name), "UNSEAL_API_SECRET_FILE", problems)).toBeUndefined()
  expect(problems).toEqual([`UNSEAL_API_SECRET_FILE: ${path(name)} can't be read (${reason})`])
})

test.each(["utf8", "utf16le", "utf16be"] as const)(
  "text is what editors of every system save: %s with a byte order mark",
  (encoding) => {
    const bytes = Buffer.from("\uFEFFgeheim-ü\r\n", encoding === "utf8" ? "utf8" : "utf16le")
    writeFileSync(path("marked"), encoding === "utf16be" ? bytes.swap16() : bytes)
    const problems: string[] = []
    expect(readSecretFile(path("marked"), "X", problems)).toBe("geheim-ü")
    expect(problems).toEqual([])
  },
)

test("a file is read whole, up to its limit and whatever its size", () => {
  const problems: string[] = []
  expect(readSecretFile(path("secret"), "X", problems)).toBe("s3cret")
  expect(problems).toEqual([])
  for (const size of [0, 1, 4_095, 4_096, 4_097, 100_000]) {
    writeFileSync(path("sized"), "x".repeat(size))
    expect(readTextFile(path("sized"), 100_000).length).toBe(size)
  }
})
