/** What `unseal` says where it can't run, whichever Node somebody has. */
import { execFileSync, spawnSync } from "node:child_process"
import { cpSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { NODES } from "./nodes.ts"

const ROOT = resolve(import.meta.dirname, "../..")

/** A clone in which nobody has run `npm ci`. */
let clone: string
beforeAll(() => {
  clone = mkdtempSync(join(tmpdir(), "unseal-clone-"))
  for (const path of ["apps/entry.mjs", "apps/cli/bin", "apps/cli/src", "apps/cli/package.json", "scripts"])
    cpSync(join(ROOT, path), join(clone, path), { recursive: true })
})
afterAll(() => rmSync(clone, { recursive: true, force: true }))

describe.each(NODES)("with Node at %s", (node) => {
  const major = Number(
    execFileSync(node, ["-p", "process.versions.node.split('.')[0]"], { encoding: "utf8" }),
  )

  it("the command line runs, whatever that Node's version", () => {
    const { status, stdout, stderr } = spawnSync(node, [join(ROOT, "apps/cli/bin/unseal.mjs"), "--version"])
    expect({ status, stdout: `${stdout}`, stderr: `${stderr}` }).toEqual({
      ...{ status: 0, stderr: "" },
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    })
  })

  it("it says in a sentence what to do where nothing is installed", () => {
    const { status, stdout, stderr } = spawnSync(node, [join(clone, "apps/cli/bin/unseal.mjs"), "--version"])
    const why = major < 26 ? /^unseal needs Node 26 and this is v\d+\S+: / : /^unseal lacks its packages: /
    expect({ status, stdout: `${stdout}`, stderr: `${stderr}` }).toEqual({
      ...{ status: 2, stdout: "" },
      stderr: expect.stringMatching(
        new RegExp(`${why.source}run "npm ci" in \\S+, which brings (it|them)\n$`),
      ),
    })
    expect(`${stderr}`).toContain(clone)
  })
})
