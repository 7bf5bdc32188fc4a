/**
 * A base image for the Dockerfile where no registry can be reached: Debian from its mirror, with this project's Node and npm where
 * the official Node image has them. Needs root and Linux.
 */
import { execFile } from "node:child_process"
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { ROOT } from "../../compose/compose-file.ts"
import { ensureProgram } from "../../harness/programs.ts"
import { buildah } from "./buildah.ts"

const run = promisify(execFile)
const STEP_MS = 900_000

const MIRROR = "http://deb.debian.org/debian"
const RELEASE = "bookworm"
/** What Debian's own slim images leave out. */
const NOT_SLIM = [
  "usr/share/doc",
  "usr/share/man",
  "usr/share/locale",
  "usr/share/info",
  "var/cache/apt",
  "var/lib/apt/lists",
]

/** Makes the image `name` in buildah's directory `storage`. */
export async function makeBaseImage(storage: string, name: string): Promise<void> {
  const debootstrap = await ensureProgram("debootstrap", { packages: { apt: "debootstrap" } })
  const directory = await mkdtemp(join(tmpdir(), "unseal-base-"))
  const debian = join(directory, "debian")
  try {
    await run(
      debootstrap,
      ["--variant=minbase", "--include=ca-certificates,libatomic1", RELEASE, debian, MIRROR],
      { timeout: STEP_MS, maxBuffer: 64 * 2 ** 20 },
    )
    for (const path of NOT_SLIM) await rm(join(debian, path), { recursive: true, force: true })
    await addNode(debian, directory)
    const container = (await buildah(storage, "from", "scratch")).trim()
    await buildah(storage, "add", container, debian, "/")
    await buildah(storage, "commit", "--rm", container, name)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function addNode(debian: string, directory: string): Promise<void> {
  const { packageManager } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"))
  await run("npm", ["pack", packageManager, "--pack-destination", directory], { timeout: STEP_MS })
  const modules = join(debian, "usr/local/lib/node_modules")
  await mkdir(modules, { recursive: true })
  await run("tar", ["-xzf", join(directory, `${packageManager.replace("@", "-")}.tgz`), "-C", directory])
  await cp(join(directory, "package"), join(modules, "npm"), { recursive: true })
  await copyFile(join(ROOT, "node_modules/node/bin/node"), join(debian, "usr/local/bin/node"))
  for (const name of ["npm", "npx"])
    await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, join(debian, "usr/local/bin", name))
  // A machine whose registry has an authority of its own tells npm so, and npm in the image must know it too.
  const { stdout } = await run("npm", ["config", "get", "cafile"])
  const authorities = stdout.trim()
  if (authorities === "" || authorities === "null") return
  await copyFile(authorities, join(debian, "etc/ssl/npm-authorities.pem"))
  await mkdir(join(debian, "usr/local/etc"), { recursive: true })
  await writeFile(join(debian, "usr/local/etc/npmrc"), "cafile=/etc/ssl/npm-authorities.pem\n")
}
