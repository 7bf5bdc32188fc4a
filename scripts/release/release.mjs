// Makes everything that a release has, in dist/release: the packages, what the image contains (CycloneDX), the image, the section
// of the changelog, and the digests of all. The same commit on the same base image gives the same bytes. Nothing is published.
//
//   npm run release -- --dry-run [--no-image] [--node-image NAME] [--storage DIRECTORY] [--out DIRECTORY]
//
// Without --dry-run, the commit must be clean and the changelog must have the version's section; then the commit is tagged.
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { makeLockedInstall } from "./locked-install.mjs"

const root = fileURLToPath(new URL("../..", import.meta.url))
const OPTIONS = {
  "dry-run": { type: "boolean", default: false },
  "no-image": { type: "boolean", default: false },
  "node-image": { type: "string" },
  storage: { type: "string" },
  out: { type: "string", default: join(root, "dist/release") },
}

/** Ends the release. 2, as for other things that only a person can fix. */
function refuse(message) {
  console.error(`release: ${message}`)
  process.exit(2)
}

/** Runs a program to its end. What it prints goes to stderr, or is returned. */
function run(program, args, { capture = false, cwd = root, env = process.env } = {}) {
  try {
    return execFileSync(program, args, {
      ...{ cwd, env, encoding: "utf8", maxBuffer: 256 * 2 ** 20 },
      stdio: ["ignore", capture ? "pipe" : 2, "inherit"],
    })
  } catch (error) {
    if (error.code === "ENOENT") refuse(`${program} is not installed: install it, or leave out what needs it`)
    return refuse(`${program} ${args[0]} failed (${error.status ?? error.signal})`)
  }
}

let given
try {
  given = parseArgs({ options: OPTIONS }).values
} catch (error) {
  refuse(error.message)
}
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const git = (...args) => run("git", args, { capture: true }).trim()
const revision = git("rev-parse", "HEAD")
const epoch = git("log", "-1", "--format=%ct")
const section = changelogSection()
if (!given["dry-run"]) demandReady()

const out = resolve(given.out)
rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
const scratch = mkdtempSync(join(tmpdir(), "unseal-release-"))
try {
  const [packed, install] = [join(scratch, "packed"), join(scratch, "install")]
  run("npm", ["run", "pack", "--", packed])
  makeLockedInstall(packed, install)
  for (const name of [`unseal-${version}.tgz`, `unseal-archive-${version}.tgz`])
    copyFileSync(join(packed, name), join(out, name))
  writeFileSync(join(out, `unseal-${version}.cdx.json`), bill(install))
  writeFileSync(join(out, "CHANGES.md"), `${section}\n`)
  if (!given["no-image"]) makeImage(join(out, `unseal-${version}-image.tar`))
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
const digests = readdirSync(out)
  .toSorted()
  .map(
    (name) =>
      `${createHash("sha256")
        .update(readFileSync(join(out, name)))
        .digest("hex")}  ${name}\n`,
  )
writeFileSync(join(out, "SHA256SUMS"), digests.join(""))
process.stdout.write(digests.join(""))
if (!given["dry-run"]) {
  git("tag", "--annotate", `v${version}`, "--message", `Unseal ${version}\n\n${section}`)
  console.error(`release: tagged v${version}. Push the tag, and publish what is in ${out}`)
}

/** The version's section of CHANGELOG.md, or the one of what is unreleased. */
function changelogSection() {
  const sections = readFileSync(join(root, "CHANGELOG.md"), "utf8").split(/^(?=## )/m)
  const titled = (title) => sections.find((text) => text.split("\n", 1)[0] === `## ${title}`)
  const found = titled(version) ?? titled("Unreleased")
  if (found === undefined) refuse(`CHANGELOG.md has no section "${version}" and none "Unreleased": add one`)
  return found.trim()
}

/** What must hold before a commit becomes a release. */
function demandReady() {
  const problems = []
  if (!section.startsWith(`## ${version}`))
    problems.push(`CHANGELOG.md has no section "${version}": rename "Unreleased"`)
  if (git("status", "--porcelain") !== "") problems.push("there are changes that no commit has: commit them")
  if (git("tag", "--list", `v${version}`) !== "")
    problems.push(`v${version} is tagged already: raise the version in package.json`)
  if (given["no-image"]) problems.push("a release has an image: leave out --no-image")
  if (problems.length > 0) refuse(problems.join("; "))
}

/** npm's bill of materials of an install folder, without what differs from run to run. */
function bill(folder) {
  const args = [
    "sbom",
    "--sbom-format",
    "cyclonedx",
    "--sbom-type",
    "application",
    "--package-lock-only",
    "--omit",
    "dev",
  ]
  const { serialNumber: _, ...content } = JSON.parse(run("npm", args, { capture: true, cwd: folder }))
  // The tarball's path means nothing to anybody else.
  for (const component of content.components)
    component.externalReferences = component.externalReferences?.filter(({ url }) => !url.startsWith("file:"))
  content.metadata.timestamp = new Date(Number(epoch) * 1_000).toISOString()
  const digest = createHash("sha256").update(JSON.stringify(content)).digest("hex")
  // A UUID of the form for custom schemes (RFC 9562, section 5.8), made of the content.
  const uuid = [
    digest.slice(0, 8),
    digest.slice(8, 12),
    `8${digest.slice(13, 16)}`,
    `8${digest.slice(17, 20)}`,
  ]
  const serialNumber = `urn:uuid:${[...uuid, digest.slice(20, 32)].join("-")}`
  const { bomFormat, specVersion, ...rest } = content
  return `${JSON.stringify({ bomFormat, specVersion, serialNumber, ...rest }, null, 2)}\n`
}

/** An OCI layout in a tar, as `buildah pull oci-archive:` and `docker load` take it. */
function makeImage(file) {
  const storage = given.storage && resolve(given.storage)
  const place = storage && ["--root", join(storage, "root"), "--runroot", join(storage, "run")]
  const buildah = (...args) => run("buildah", ["--storage-driver", "vfs", ...(place ?? []), ...args])
  const name = `localhost/unseal:${version}`
  const base = given["node-image"] === undefined ? [] : ["--build-arg", `NODE_IMAGE=${given["node-image"]}`]
  buildah(
    ...["build", "--isolation", "chroot", "--no-cache", "--timestamp", epoch, "--tag", name, ...base],
    ...["--build-arg", `VERSION=${version}`, "--build-arg", `REVISION=${revision}`, root],
  )
  const layout = join(scratch, "image")
  buildah("push", name, `oci:${layout}:unseal:${version}`)
  run("tar", [
    ...["--create", "--file", file, "--directory", layout, "--sort", "name", "--mtime", `@${epoch}`],
    ...["--owner", "0", "--group", "0", "--numeric-owner", "--mode", "u=rwX,go=rX", "--format", "gnu", "."],
  ])
}
