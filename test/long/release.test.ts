/** Two releases of one commit, in two folders: a dry run, and one that counts. Needs root and Linux, as the image's test does. */
import { execFile } from "node:child_process"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, expect, it } from "vitest"
import { ROOT } from "../compose/compose-file.ts"
import { ensureProgram } from "../harness/programs.ts"
import { makeBaseImage } from "./machine/base-image.ts"

const RELEASE_MS = 1_500_000
const BASE = "localhost/base:1"
const run = promisify(execFile)
const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"))
const NAMES = [
  ...["CHANGES.md", "SHA256SUMS", `unseal-${version}-image.tar`, `unseal-${version}.cdx.json`],
  ...[`unseal-${version}.tgz`, `unseal-archive-${version}.tgz`],
]

let directory: string
let [first, second] = ["", ""]
const git = async (folder: string, ...args: string[]) =>
  (await run("git", ["-C", folder, ...args], { maxBuffer: 256 * 2 ** 20 })).stdout.trim()

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-release-"))
  ;[first, second] = ["first", "a second one"].map((name) => join(directory, name)) as [string, string]
  await ensureProgram("buildah", { packages: { apt: "buildah" } })
  await makeBaseImage(join(directory, "storage"), BASE)
  await prepare()
})
afterAll(() => rm(directory, { recursive: true, force: true }))

/** A clone with this repository's changes, the version's section in the changelog, and all of it committed. And a clone of that. */
async function prepare(): Promise<void> {
  await git(ROOT, "clone", "--quiet", ROOT, first)
  const { stdout: changes } = await run("git", ["-C", ROOT, "diff", "--binary", "HEAD"])
  if (changes !== "") {
    await writeFile(join(directory, "changes"), changes)
    await git(first, "apply", join(directory, "changes"))
  }
  const changelog = join(first, "CHANGELOG.md")
  await writeFile(changelog, (await readFile(changelog, "utf8")).replace(/^## Unreleased$/m, `## ${version}`))
  const author = ["-c", "user.name=A Maintainer", "-c", "user.email=maintainer@example.com"]
  await git(first, ...author, "commit", "--quiet", "--all", "--message", `${version}`)
  await git(first, "clone", "--quiet", first, second)
  for (const folder of [first, second]) {
    await git(folder, "config", "user.name", "A Maintainer")
    await git(folder, "config", "user.email", "maintainer@example.com")
  }
}

const release = (folder: string, ...args: string[]) =>
  run(
    process.execPath,
    [
      join(folder, "scripts/release/release.mjs"),
      ...["--node-image", BASE, "--storage", join(directory, "storage"), ...args],
    ],
    { cwd: folder, timeout: RELEASE_MS, maxBuffer: 256 * 2 ** 20 },
  )

it("a release is the same bytes as its dry run elsewhere, image included, and tags its commit", async () => {
  await release(first, "--dry-run")
  expect(await git(first, "tag", "--list")).toBe("")
  const { stderr } = await release(second)
  expect(stderr).toContain(`release: tagged v${version}`)

  const out = (folder: string) => join(folder, "dist/release")
  expect((await readdir(out(first))).toSorted()).toEqual(NAMES.toSorted())
  expect((await readdir(out(second))).toSorted()).toEqual(NAMES.toSorted())
  const digests = await readFile(join(out(first), "SHA256SUMS"), "utf8")
  expect(await readFile(join(out(second), "SHA256SUMS"), "utf8")).toBe(digests)
  await run("sha256sum", ["--check", "--strict", "SHA256SUMS"], { cwd: out(second) })

  expect(await git(second, "rev-parse", `v${version}^{commit}`)).toBe(await git(second, "rev-parse", "HEAD"))
  expect(await git(second, "cat-file", "-t", `v${version}`)).toBe("tag")
  const section = await readFile(join(out(second), "CHANGES.md"), "utf8")
  const message = await git(second, "tag", "--list", "--format=%(contents)", `v${version}`)
  expect(message.startsWith(`Unseal ${version}`)).toBe(true)
  expect(message).toContain(section.trim().split("\n").at(-1))
  expect(await git(second, "status", "--porcelain")).toBe("")
})

it("the same version is not released twice", async () => {
  const refused = await release(second).catch((error) => error)
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("is tagged already") })
})
