import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, it } from "vitest"
import { toMarkdown, writeSection } from "./report.ts"

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "unseal-report-"))
})
afterEach(() => rmSync(directory, { recursive: true }))

it("keeps a pipeline's bars inside their cell", () => {
  const markdown = toMarkdown({
    conditions: "1 GiB.",
    columns: ["", "MB/s"],
    rows: [["`a | b`", "5"]],
    settings: [],
    failures: ["c: exit code 1"],
  })
  expect(markdown).toContain("| `a \\| b` | 5 |")
  expect(markdown).toContain("**FAILED** c: exit code 1")
})

it("replaces what is between a chapter's markers and nothing else", () => {
  const path = join(directory, "performance.md")
  const page = (table: string) => `before\n<!-- bench:tls -->\n${table}\n<!-- /bench:tls -->\nafter\n`
  writeFileSync(path, page("old"))
  writeSection(path, "tls", "new")
  expect(readFileSync(path, "utf8")).toBe(page("new"))
  expect(() => writeSection(path, "large", "new")).toThrow("has no markers <!-- bench:large -->")
})

it("has markers in docs/performance.md for every chapter", async () => {
  const text = readFileSync(join(import.meta.dirname, "../../docs/performance.md"), "utf8")
  const { CHAPTERS } = await import("./chapters/all.ts")
  for (const { name, title } of CHAPTERS) {
    expect(text).toContain(`## ${title}\n`)
    expect(text).toMatch(new RegExp(`<!-- bench:${name} -->[^]*<!-- /bench:${name} -->`))
  }
})
