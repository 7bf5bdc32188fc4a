/** A fresh clone of this checkout, and an `npm` for it that takes its packages from here instead of from the registry. */
import { execFileSync } from "node:child_process"
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { dirname, join, resolve } from "node:path"
import { findProgram } from "../harness/programs.ts"

const root = resolve(import.meta.dirname, "../..")

/** Copies the files of this checkout that git knows, with uncommitted changes, into `directory`, and makes that a repository. */
export function clone(directory: string): void {
  const git = (cwd: string, ...args: string[]) =>
    execFileSync("git", ["-c", "safe.directory=*", "-C", cwd, ...args], { encoding: "utf8" })
  const names = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
  for (const name of names.filter((name) => name !== "" && existsSync(join(root, name)))) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    copyFileSync(join(root, name), join(directory, name))
  }
  git(directory, "init", "--quiet")
  git(directory, "add", "--all")
}

/** The files that a walk left in a clone and that git would add. */
export const leftIn = (directory: string): string =>
  execFileSync("git", ["-C", directory, "status", "--porcelain"], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.startsWith("??") || line.startsWith(" "))
    .join("\n")

/**
 * Writes an `npm` into `directory`. Its `ci` has npm check that package.json and the lockfile agree, and then links the packages of
 * this checkout, which the same lockfile has pinned. Everything else is npm's own.
 */
export function writeNpm(directory: string): void {
  const npm = findProgram("npm")
  if (npm === null) throw new Error("npm is not on PATH")
  const script = `#!/bin/sh
if [ "$1" = ci ]; then
  '${npm}' ci --dry-run --offline --no-fund --no-audit --loglevel=error >/dev/null || exit
  exec '${process.execPath}' '${import.meta.filename}' "$PWD"
fi
exec '${npm}' "$@"
`
  writeFileSync(join(directory, "npm"), script, { mode: 0o755 })
}

/** Gives the clone in `directory` this checkout's packages by links, except for the project's own, which are the clone's. */
function linkPackages(directory: string): void {
  linkModules(join(root, "node_modules"), join(directory, "node_modules"))
  for (const workspace of workspaces()) {
    const modules = join(root, workspace, "node_modules")
    if (existsSync(modules)) linkModules(modules, join(directory, workspace, "node_modules"))
  }
}

function linkModules(from: string, to: string): void {
  mkdirSync(to)
  for (const name of readdirSync(from)) {
    if (name.startsWith(".cache")) continue
    const [source, target] = [join(from, name), join(to, name)]
    // A workspace, or a program: relative, so that it leads to the clone's own.
    if (lstatSync(source).isSymbolicLink()) symlinkSync(readlinkSync(source), target)
    else if (name.startsWith("@") || name === ".bin") linkModules(source, target)
    else symlinkSync(source, target)
  }
}

function workspaces(): string[] {
  const folders = ["packages", "apps"].flatMap((parent) =>
    readdirSync(join(root, parent)).map((name) => join(parent, name)),
  )
  return [...folders, "test", "demo"]
}

if (import.meta.main) linkPackages(process.argv[2]!)
