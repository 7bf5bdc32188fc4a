import { spawnSync } from "node:child_process"
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
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

  it("make no key and no secret that git would take up", async () => {
    const told = [
      ...read("README.md").matchAll(
        /(?:--(?:out|keyout|key|callback|certificate|[a-z-]+-file)|_FILE=|_KEYS_DIR=)[ =]?([\w./-]*[\w/])/g,
      ),
    ].map(([, path]) => path!.replace(/^keys$/, "keys/"))
    const names = [...new Set(told)].filter((name) => !name.startsWith("/") && /[a-z]/.test(name))
    expect(names).toEqual(expect.arrayContaining(["keys/key.pem", "api-secret", "callback.json"]))
    const checkout = mkdtempSync(join(tmpdir(), "unseal-ignored-"))
    try {
      const git = (...args: string[]) => spawnSync("git", ["-C", checkout, ...args], { encoding: "utf8" })
      git("init", "--quiet")
      copyFileSync(join(root, ".gitignore"), join(checkout, ".gitignore"))
      const { stdout } = git("check-ignore", "--no-index", ...names)
      expect(stdout.trim().split("\n").toSorted()).toEqual(names.toSorted())
    } finally {
      rmSync(checkout, { recursive: true })
    }
  })

  it("lead to files that exist", () => {
    for (const document of ["README.md", "ARCHITECTURE.md"])
      for (const [, path] of read(document).matchAll(/\]\((?!https?:|#)([^)#]+)/g))
        expect(statSync(join(root, path!)).isFile(), `${document} links to ${path}`).toBe(true)
  })
})
