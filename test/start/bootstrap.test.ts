/** What `npm run start:…` does around the process that works: real trees with the real scripts, npm and signals. */
import { execFile } from "node:child_process"
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { describe, expect } from "vitest"
import { NODES } from "./nodes.ts"
import { beginnings, install, it, linesOf, lives, pin, started, until } from "./trees.ts"

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
    "with an explanation of npm's warnings if Node is older than the packages require (%s)",
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
