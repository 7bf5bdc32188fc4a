import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { parseEnv } from "node:util"
import { FAILURES } from "@unseal/queue/run/ending"
import { SETTINGS } from "@unseal/service/settings/table"
import { describe, expect, it } from "vitest"
import { DOCUMENTS } from "./generate.ts"

const root = resolve(import.meta.dirname, "../..")
const read = (path: string) => readFileSync(join(root, path), "utf8")
const documents = () =>
  readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`)
const everything = () => ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", ...documents()]

describe("the documents", () => {
  it.each(Object.keys(DOCUMENTS))("have %s as the code has it (npm run docs writes it)", (path) => {
    expect(read(path)).toBe(DOCUMENTS[path]!())
  })

  it.each(["README.md", "CONTRIBUTING.md"])("name in %s only npm commands that exist", (path) => {
    const scripts = Object.keys(JSON.parse(read("package.json")).scripts)
    const told = [...read(path).matchAll(/(?:^|`)npm (?:run )?([a-z][a-z:]*)/gm)].map(([, name]) => name!)
    expect(told.length).toBeGreaterThan(3)
    expect(told.filter((name) => !scripts.includes(name) && !["ci", "install"].includes(name))).toEqual([])
  })

  it("explain every error code", () => {
    const explained = [...read("docs/errors.md").matchAll(/^\| <a id="(ERR_[A-Z_]+)">/gm)].map(
      ([, code]) => code,
    )
    expect(explained.toSorted()).toEqual(Object.keys(FAILURES).toSorted())
  })

  it("have a text in every cell of a generated table", () => {
    for (const path of Object.keys(DOCUMENTS).filter((path) => path.endsWith(".md")))
      for (const line of read(path)
        .split("\n")
        .filter((line) => line.startsWith("| ")))
        expect(line, path).not.toMatch(/\| {1,2}\|/)
  })

  it("name no setting that does not exist", () => {
    const known = Object.keys(SETTINGS).flatMap((name) => [name, `${name}_FILE`])
    for (const document of everything())
      for (const [name] of read(document).matchAll(/\bUNSEAL_[A-Z_]*[A-Z]\b/g))
        expect(known, `${document} names ${name}`).toContain(name)
  })

  it("tell how .env.example is loaded: a copy of it gives a process its settings, a URL with & among them", () => {
    const example = read(".env.example")
    const [, command] = /^# {3}(.+)$/m.exec(example) ?? []
    const [, quoted] = /: ([A-Z_]+='.*&.*')$/m.exec(example) ?? []
    const given = example.replace(/^# ([A-Z_]+=.+)$/gm, "$1").concat(`${quoted}\n`)
    const directory = mkdtempSync(join(tmpdir(), "unseal-env-"))
    try {
      writeFileSync(join(directory, ".env"), given)
      const printed = execFileSync("sh", ["-c", `${command}; env -0`], {
        ...{ cwd: directory, env: { PATH: process.env.PATH }, encoding: "utf8" },
      })
      const loaded = Object.fromEntries(
        printed.split("\0").map((line) => [line.split("=", 1)[0], line.slice(line.indexOf("=") + 1)]),
      )
      const expected = parseEnv(given)
      expect(Object.keys(expected).length).toBeGreaterThan(20)
      expect(expected.UNSEAL_SOURCE).toMatch(/^s3:.*&/)
      expect(loaded).toMatchObject(expected)
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  it("lead to files that exist", () => {
    for (const document of everything())
      for (const [, path] of read(document).matchAll(/\]\((?!https?:|#)([^)#]+)/g))
        expect(statSync(join(root, dirname(document), path!)).isFile(), `${document} links to ${path}`).toBe(
          true,
        )
  })
})
