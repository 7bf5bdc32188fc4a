import { afterEach, expect, test, vi } from "vitest"
import { logConsole } from "./library-console.ts"
import { createLogger } from "./logger.ts"

const { warn, error } = console
afterEach(() => Object.assign(console, { warn, error }))

function captured() {
  const lines: Record<string, unknown>[] = []
  logConsole(createLogger("test", "info", { write: (line) => void lines.push(JSON.parse(line)) }))
  return lines
}

test("a library's output becomes a log line, once, and nothing goes to stderr", () => {
  const stderr = vi.spyOn(process.stderr, "write")
  const lines = captured()
  for (let times = 0; times < 3; times++) console.warn("no ready check:", "NOPERM")
  console.error("another")
  expect(lines).toMatchObject([
    { level: "warn", msg: "a library printed a warning", text: "no ready check: NOPERM" },
    { level: "warn", msg: "a library printed a warning", text: "another" },
  ])
  expect(stderr).not.toHaveBeenCalled()
  stderr.mockRestore()
})

test("contains nothing that was sent, and no credentials", () => {
  const lines = captured()
  const failed = Object.assign(new Error("NOPERM"), { command: { args: ["secret-1"] } })
  console.error(failed, { password: "secret-2" })
  console.warn("connecting to redis://user:secret-3@host/?key=secret-4")
  expect(lines).toMatchObject([{ err: { message: "NOPERM" } }, { text: "connecting to redis://host/?…" }])
  expect(JSON.stringify(lines)).not.toContain("secret")
})

test("does not remember without bound", () => {
  const lines = captured()
  for (let number = 0; number < 1_000; number++) console.warn(`text ${number}`)
  expect(lines).toHaveLength(100)
})
