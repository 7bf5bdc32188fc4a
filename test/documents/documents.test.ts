import { readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { FAILURES } from "@unseal/queue/ending"
import { SETTINGS } from "@unseal/service/setting-table"
import { describe, expect, it } from "vitest"
import { DOCUMENTS } from "./generate.ts"

const root = resolve(import.meta.dirname, "../..")
const read = (path: string) => readFileSync(join(root, path), "utf8")
const documents = () =>
  readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`)

describe("the documents", () => {
  it.each(Object.keys(DOCUMENTS))("have %s as the code has it (npm run docs writes it)", (path) => {
    expect(read(path)).toBe(DOCUMENTS[path]!())
  })

  it("name every npm command that the README tells to run", () => {
    const scripts = Object.keys(JSON.parse(read("package.json")).scripts)
    const told = [...read("README.md").matchAll(/npm (?:run )?([a-z][a-z:]*)/g)].map(([, name]) => name!)
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
    for (const document of ["README.md", "ARCHITECTURE.md", ...documents()])
      for (const [name] of read(document).matchAll(/\bUNSEAL_[A-Z_]*[A-Z]\b/g))
        expect(known, `${document} names ${name}`).toContain(name)
  })

  it("lead to files that exist", () => {
    for (const document of ["README.md", "ARCHITECTURE.md", ...documents()])
      for (const [, path] of read(document).matchAll(/\]\((?!https?:|#)([^)#]+)/g))
        expect(statSync(join(root, dirname(document), path!)).isFile(), `${document} links to ${path}`).toBe(
          true,
        )
  })
})
