/** Real trees with the project's own scripts, npm and signals, for tests of what `npm run start:…` does. */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"
import { test as base } from "vitest"

const SCRIPTS = resolve(import.meta.dirname, "../../scripts")

/** Says that it runs, needs its package until the end, and takes a while to drain. */
const MAIN = `
  import { appendFileSync } from "node:fs"
  appendFileSync("started", process.pid + "\\n")
  process.on("SIGTERM", () => setTimeout(async () => {
    await import("member/late.mjs")
    appendFileSync("drained", process.pid + "\\n")
    process.exit(0)
  }, 300))
  setInterval(() => {}, 1000)`

/** The package's install script: each installation leaves a line when it is in the middle of its work and one later. */
const INSTALL = `
  import { appendFileSync } from "node:fs"
  appendFileSync("../installations", "begin " + process.pid + "\\n")
  setTimeout(() => appendFileSync("../installations", "end\\n"), 1500)`

/** Trees and processes of one case, which are gone after it. Most cases wait for npm, so they run side by side. */
// biome-ignore lint/correctness/noEmptyPattern: Vitest reads from it that there is nothing to set up before.
export const it = base.extend("at", ({}, { onCleanup }) => {
  const trees: string[] = []
  const children: ChildProcess[] = []
  onCleanup(async () => {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill("SIGKILL")
      await once(child, "exit")
    }
    for (const tree of trees) {
      for (const pid of linesOf(tree, "started").map(Number)) if (lives(pid)) process.kill(pid, "SIGKILL")
      rmSync(tree, { recursive: true, force: true, maxRetries: 5 })
    }
  })
  return {
    createTree() {
      const tree = createTree()
      trees.push(tree)
      return tree
    },
    start(tree: string, ...how: How) {
      const run = start(tree, ...how)
      children.push(run.child)
      return run
    },
  }
})

/** A tree with the project's own scripts and one package, which is not installed yet. */
function createTree(): string {
  const tree = mkdtempSync(join(tmpdir(), "unseal-start-"))
  cpSync(SCRIPTS, join(tree, "scripts"), { recursive: true })
  mkdirSync(join(tree, "member"))
  writeFileSync(join(tree, "member/late.mjs"), "")
  writeFileSync(join(tree, "main.mjs"), MAIN)
  writeFileSync(join(tree, "member/install.mjs"), INSTALL)
  pin(tree, "1.0.0")
  return tree
}

/** Does what a pull does that brings another version of the package. */
export function pin(tree: string, version: string): void {
  const write = (path: string, content: object) => writeFileSync(join(tree, path), JSON.stringify(content))
  const root = { name: "tree", version: "1.0.0", private: true, workspaces: ["member"] }
  const start = "exec node scripts/bootstrap.mjs node main.mjs"
  write("package.json", { ...root, scripts: { start } })
  write("member/package.json", { name: "member", version, scripts: { install: "node install.mjs" } })
  write("package-lock.json", {
    ...{ name: "tree", version: "1.0.0", lockfileVersion: 3, requires: true },
    packages: {
      "": root,
      member: { version, hasInstallScript: true },
      "node_modules/member": { resolved: "member", link: true },
    },
  })
}

/** The lines that the processes of a tree have left in a file. */
export function linesOf(tree: string, name: string): string[] {
  const path = join(tree, name)
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").filter(Boolean) : []
}

/** The installations that have begun. */
export const beginnings = (tree: string) =>
  linesOf(tree, "installations").filter((line) => line.startsWith("begin"))

export function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  // A process that has ended stays until its new parent looks.
  return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))
}

export async function until(what: string, condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 50) {
    if (waited > 180_000) throw new Error(`not within three minutes: ${what}`)
    await sleep(50)
  }
}

interface Start {
  readonly child: ChildProcess
  readonly output: () => string
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>
}

type How = [how?: "npm" | "bootstrap", command?: readonly string[], node?: string]

/** `npm run start`, or what it runs, as the leader of a process group. */
function start(
  tree: string,
  ...[how = "npm", command = ["node", "main.mjs"], node = process.execPath]: How
): Start {
  const [program, ...args] =
    how === "npm" ? ["npm", "run", "start"] : [node, "scripts/bootstrap.mjs", ...command]
  const child = spawn(program!, args, { cwd: tree, detached: true, stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text
    })
  const ended = once(child, "exit").then(([code, signal]) => (code ?? signal) as number | string)
  return { child, output: () => output, ended }
}

/** As a person does it. */
export const install = (tree: string) => promisify(execFile)("npm", ["ci"], { cwd: tree })

/** Resolves when `count` mains have said that they run. */
export const started = (tree: string, count: number) =>
  until(`${count} processes have started`, () => linesOf(tree, "started").length === count)
