/** What `npm run start:…` does around the process that works: real trees with the real scripts, npm and signals. */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"
import { test as base, describe, expect } from "vitest"
import { NODES } from "./nodes.ts"

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
const it = base.extend("at", ({}, { onCleanup }) => {
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

/** What a pull does that brings another version of the package. */
function pin(tree: string, version: string): void {
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

function linesOf(tree: string, name: string): string[] {
  const path = join(tree, name)
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").filter(Boolean) : []
}

const beginnings = (tree: string) => linesOf(tree, "installations").filter((line) => line.startsWith("begin"))

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  // A process that has ended stays until its new parent looks.
  return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))
}

async function until(what: string, condition: () => boolean): Promise<void> {
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
const install = (tree: string) => promisify(execFile)("npm", ["ci"], { cwd: tree })

const started = (tree: string, count: number) =>
  until(`${count} processes have started`, () => linesOf(tree, "started").length === count)

describe("packages are installed", () => {
  it.concurrent("once, when two start in the same moment and nothing is installed", async ({
    at: { createTree, start },
  }) => {
    const tree = createTree()
    const both = [start(tree), start(tree)]
    await started(tree, 2)
    expect(beginnings(tree)).toHaveLength(1)
    for (const { child } of both) child.kill("SIGTERM")
    expect(await Promise.all(both.map(({ ended }) => ended))).toEqual([0, 0])
    expect(linesOf(tree, "drained")).toHaveLength(2)
  })

  it.concurrent("once, when several start in the same moment after the lockfile has changed", async ({
    at: { createTree, start },
  }) => {
    const tree = createTree()
    await install(tree)
    pin(tree, "2.0.0")
    for (let i = 0; i < 4; i++) start(tree, "bootstrap")
    await started(tree, 4)
    expect(beginnings(tree)).toHaveLength(2)
  })

  it.concurrent.for(NODES)(
    "with a word on npm's warnings if Node is older than the packages want (%s)",
    async (node, { at: { createTree, start } }) => {
      const version = (await promisify(execFile)(node, ["-p", "process.version"])).stdout
      const tree = createTree()
      const { output, ended } = start(tree, "bootstrap", ["node", "-e", "0"], node)
      expect(await ended).toBe(0)
      const isOld = Number(version.slice(1).split(".")[0]) < 26
      expect(output().includes("npm's EBADENGINE warnings are harmless")).toBe(isOld)
    },
  )

  it.concurrent("not at all after a plain npm ci", async ({ at: { createTree, start } }) => {
    const tree = createTree()
    await install(tree)
    start(tree)
    start(tree)
    await started(tree, 2)
    expect(beginnings(tree)).toHaveLength(1)
  })

  it.concurrent("again, when a package is missing or is one for another machine", async ({
    at: { createTree, start },
  }) => {
    const tree = createTree()
    await install(tree)
    rmSync(join(tree, "node_modules/member"))
    expect(await start(tree, "bootstrap", []).ended).toBe(0)
    expect(beginnings(tree)).toHaveLength(2)

    rmSync(join(tree, "node_modules/.installed-lockfile"))
    const list = join(tree, "node_modules/.package-lock.json")
    writeFileSync(
      list,
      readFileSync(list, "utf8").replace('"link": true', '"link": true, "os": ["elsewhere"]'),
    )
    expect(await start(tree, "bootstrap", []).ended).toBe(0)
    expect(beginnings(tree)).toHaveLength(3)
  })

  it.concurrent("never under a process that runs: the start is refused and names it", async ({
    at: { createTree, start },
  }) => {
    const tree = createTree()
    const first = start(tree)
    await started(tree, 1)
    pin(tree, "2.0.0")
    const second = start(tree, "bootstrap")
    expect(await second.ended).toBe(1)
    expect(second.output()).toMatch(
      /node_modules is not what package-lock.json pins, and processes run from it: start \(process \d+\)/,
    )
    expect(beginnings(tree)).toHaveLength(1)

    first.child.kill("SIGTERM")
    expect(await first.ended).toBe(0)
    start(tree, "bootstrap")
    await started(tree, 2)
    expect(beginnings(tree)).toHaveLength(2)
  })

  it.concurrent("never under a process whose wrapper was killed", async ({ at: { createTree, start } }) => {
    const tree = createTree()
    const first = start(tree, "bootstrap")
    await started(tree, 1)
    first.child.kill("SIGKILL")
    await first.ended
    pin(tree, "2.0.0")
    expect(await start(tree, "bootstrap").ended).toBe(1)
    process.kill(Number(linesOf(tree, "started")[0]), "SIGKILL")
    start(tree, "bootstrap")
    await started(tree, 2)
  })

  it.concurrent("by the next one when an installer was killed, and not before its npm has ended", async ({
    at: { createTree, start },
  }) => {
    const tree = createTree()
    const killed = start(tree, "bootstrap")
    await until("it installs", () => beginnings(tree).length === 1)
    killed.child.kill("SIGKILL")
    await killed.ended
    start(tree, "bootstrap")
    await started(tree, 1)
    // The npm that was left behind did its work; nobody began beside it.
    expect(linesOf(tree, "installations").map((line) => line.split(" ")[0])).toEqual(["begin", "end"])
  })

  it.concurrent("by the next one when an installer was killed with all that it had started", async ({
    at: { createTree, start },
  }) => {
    const tree = createTree()
    const killed = start(tree, "bootstrap")
    await until("it installs", () => beginnings(tree).length === 1)
    process.kill(-killed.child.pid!, "SIGKILL")
    await killed.ended
    const next = [start(tree, "bootstrap"), start(tree, "bootstrap")]
    await started(tree, 2)
    expect(beginnings(tree)).toHaveLength(2)
    expect(next.every(({ child }) => child.exitCode === null)).toBe(true)
  })

  it.concurrent("by the next one when an installation was stopped", async ({ at: { createTree, start } }) => {
    const tree = createTree()
    const stopped = start(tree, "bootstrap")
    await until("it installs", () => beginnings(tree).length === 1)
    stopped.child.kill("SIGTERM")
    expect(await stopped.ended).toBeGreaterThan(0)
    expect(linesOf(tree, "started")).toEqual([])
    start(tree, "bootstrap")
    await started(tree, 1)
  })
})

describe("a signal reaches the process that works, nothing is left, and the exit code is 0", () => {
  it.concurrent.for([
    ["SIGTERM to npm", "npm", 1],
    ["SIGTERM to the script that npm runs", "bootstrap", 1],
    ["SIGTERM to the process group", "npm", -1],
  ] as const)("%s", async ([, how, sign], { at: { createTree, start } }) => {
    const tree = createTree()
    const run = start(tree, how)
    await started(tree, 1)
    process.kill(sign * run.child.pid!, "SIGTERM")
    expect(await run.ended).toBe(0)
    const [pid] = linesOf(tree, "started")
    expect(linesOf(tree, "drained")).toEqual([pid])
    expect(lives(Number(pid))).toBe(false)
  })

  it.concurrent("even when npm is killed outright, the process that works drains", async ({
    at: { createTree, start },
  }) => {
    const tree = createTree()
    const { child, ended } = start(tree)
    await started(tree, 1)
    child.kill("SIGKILL")
    await ended
    await until("it has drained", () => linesOf(tree, "drained").length === 1)
    const pid = Number(linesOf(tree, "started")[0])
    await until("it has ended", () => !lives(pid))
  })

  it.concurrent.for([
    ["its exit code", "process.exit(2)", 2],
    ["the code of the signal that killed it", "process.kill(process.pid, 'SIGKILL')", 137],
  ] as const)(
    "a command that ends by itself hands on %s",
    async ([, script, code], { at: { createTree, start } }) => {
      const tree = createTree()
      expect(await start(tree, "bootstrap", ["node", "-e", script]).ended).toBe(code)
    },
  )
})
