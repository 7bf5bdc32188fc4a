import { readFileSync, statSync } from "node:fs"
import { join, resolve } from "node:path"
import { FAILURES } from "@unseal/queue/ending"
import { describe, expect, it } from "vitest"
import { envExample, readmeWithSettings } from "./generate.ts"

const root = resolve(import.meta.dirname, "../..")
const read = (path: string) => readFileSync(join(root, path), "utf8")

describe("the documents", () => {
  it("list the settings as the code has them (npm run docs writes them)", () => {
    expect(readmeWithSettings(read("README.md"))).toBe(read("README.md"))
    expect(envExample()).toBe(read(".env.example"))
  })

  it("name every npm command that the README tells to run", () => {
    const scripts = Object.keys(JSON.parse(read("package.json")).scripts)
    const told = [...read("README.md").matchAll(/npm (?:run )?([a-z][a-z:]*)/g)].map(([, name]) => name!)
    expect(told.length).toBeGreaterThan(3)
    expect(told.filter((name) => !scripts.includes(name) && !["ci", "install"].includes(name))).toEqual([])
  })

  it("explain every error code", () => {
    const explained = [...read("README.md").matchAll(/^\| `(ERR_[A-Z_]+)` \|/gm)].map(([, code]) => code)
    expect(explained.toSorted()).toEqual(Object.keys(FAILURES).toSorted())
  })

  it("lead to files that exist", () => {
    for (const document of ["README.md", "ARCHITECTURE.md"])
      for (const [, path] of read(document).matchAll(/\]\((?!https?:|#)([^)#]+)/g))
        expect(statSync(join(root, path!)).isFile(), `${document} links to ${path}`).toBe(true)
  })
})
