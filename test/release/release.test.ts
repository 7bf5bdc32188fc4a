import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const root = resolve(import.meta.dirname, "../..")
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const run = promisify(execFile)
const release = (...args: string[]) =>
  run(process.execPath, [join(root, "scripts/release/release.mjs"), ...args], { cwd: root, timeout: 600_000 })

describe("npm run release -- --dry-run", () => {
  const directory = mkdtempSync(join(tmpdir(), "unseal-release-test-"))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  const [first, second] = ["first", "second"].map((name) => join(directory, name)) as [string, string]
  beforeAll(async () => {
    for (const out of [first, second]) await release("--dry-run", "--no-image", "--out", out)
  }, 1_200_000)
  const read = (folder: string, name: string) => readFileSync(join(folder, name))

  it("makes packages, bill of materials, changes and digests, the same bytes each time", () => {
    const names = ["CHANGES.md", "SHA256SUMS", `unseal-${version}.cdx.json`, `unseal-${version}.tgz`]
    names.push(`unseal-archive-${version}.tgz`)
    expect(readdirSync(first).toSorted()).toEqual(names.toSorted())
    for (const name of names) expect(read(first, name).equals(read(second, name)), name).toBe(true)
  })

  it("gives the digest of everything else in SHA256SUMS", () => {
    const lines = read(first, "SHA256SUMS").toString().trim().split("\n")
    const others = readdirSync(first).filter((name) => name !== "SHA256SUMS")
    expect(lines).toEqual(
      others
        .toSorted()
        .map((name) => `${createHash("sha256").update(read(first, name)).digest("hex")}  ${name}`),
    )
  })

  it("lists what the image holds, in the lockfile's versions, without what is only for development", () => {
    const bill = JSON.parse(read(first, `unseal-${version}.cdx.json`).toString())
    expect(bill).toMatchObject({
      bomFormat: "CycloneDX",
      serialNumber: expect.stringMatching(/^urn:uuid:[0-9a-f-]{36}$/),
    })
    const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"))
    const listed = bill.components as { name: string; group?: string; version: string }[]
    const named = listed.map(
      ({ group, name, version }) => [group ? `${group}/${name}` : name, version] as const,
    )
    expect(named.length).toBeGreaterThan(100)
    const known = new Set(
      Object.entries<{ version: string }>(packages).map(
        ([path, { version }]) => `${path.slice(path.lastIndexOf("node_modules/") + 13)}@${version}`,
      ),
    )
    expect(named.map(([name, version]) => `${name}@${version}`).filter((id) => !known.has(id))).toEqual([
      `unseal@${version}`,
    ])
    expect(named.map(([name]) => name)).not.toContain("vitest")
  })

  it("takes the changes of the version from the changelog", () => {
    const changes = read(first, "CHANGES.md").toString()
    expect(changes).toMatch(/^## /)
    expect(changes.match(/^## /gm)).toHaveLength(1)
    expect(readFileSync(join(root, "CHANGELOG.md"), "utf8")).toContain(changes.trim())
  })
})

describe("a release that is not a dry run is refused", () => {
  const clone = mkdtempSync(join(tmpdir(), "unseal-release-test-"))
  beforeAll(() => run("git", ["clone", "--quiet", "--shared", root, clone]))
  afterAll(() => rmSync(clone, { recursive: true, force: true }))
  const refusal = async (...args: string[]): Promise<string> => {
    const script = join(clone, "scripts/release/release.mjs")
    const { code, stderr } = await run(process.execPath, [script, ...args], { cwd: clone }).catch((e) => e)
    expect(code).toBe(2)
    return stderr
  }

  it("with every reason, before it makes anything", async () => {
    writeFileSync(join(clone, "CHANGELOG.md"), "# Changelog\n\n## Unreleased\n\n- Something.\n")
    await run("git", ["tag", `v${version}`], { cwd: clone })
    const reasons = await refusal("--no-image")
    expect(reasons).toContain(`CHANGELOG.md has no section "${version}": rename "Unreleased"`)
    expect(reasons).toContain("there are changes that no commit has: commit them")
    expect(reasons).toContain(`v${version} is tagged already: raise the version in package.json`)
    expect(reasons).toContain("a release has an image: leave out --no-image")
    expect(readdirSync(clone)).not.toContain("dist")
  })

  it("without a changelog section, and with an unknown option", async () => {
    writeFileSync(join(clone, "CHANGELOG.md"), "# Changelog\n")
    expect(await refusal()).toContain(
      `CHANGELOG.md has no section "${version}" and none "Unreleased": add one`,
    )
    expect(await refusal("--dry")).toContain("--dry")
  })
})
