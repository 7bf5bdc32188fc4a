/**
 * `node test/readme/walk.ts`: follows README.md block by block, as a newcomer would, in a fresh clone and an empty home. Before
 * the tour ends, it follows the pages of docs/ that continue it. Prints each step. Exits with 1 at the first one that differs from
 * its document.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { ensureProgram } from "../harness/programs.ts"
import { type Commands, type Interruption, MAIN, missing, type Step, stepsOf } from "./blocks.ts"
import { clone, leftIn, writeNpm } from "./checkout.ts"
import { openTerminal, type Run, type Terminal } from "./terminal.ts"

/** Far more than any block takes, even on a busy machine. */
const BOUND_MS = 120_000
const POLL_MS = 50
/** The pause before the reader looks again. */
const AGAIN_MS = 300

const root = resolve(import.meta.dirname, "../..")
/** Pages whose blocks continue the README's tour, in this order. */
const PAGES = ["docs/operations.md", "docs/rotation.md"]

interface PlacedStep {
  readonly document: string
  readonly step: Step
}

/** The README's steps. Those of the pages come before its last Ctrl-C, which ends the tour. */
function wholePath(): readonly PlacedStep[] {
  const placed = (document: string): PlacedStep[] =>
    stepsOf(readFileSync(join(root, document), "utf8")).map((step) => ({ document, step }))
  const tour = placed("README.md")
  const end = tour.findLastIndex(({ step }) => step.kind === "interruption")
  return [...tour.slice(0, end), ...PAGES.flatMap(placed), ...tour.slice(end)]
}

async function main(): Promise<number> {
  const steps = wholePath()
  await ensurePrograms()
  const directory = mkdtempSync(join(tmpdir(), "unseal-readme-"))
  const terminals = new Map<string, Terminal>()
  try {
    const [checkout, home, bin, blocks] = ["unseal", "home", "bin", "blocks"].map((name) =>
      join(directory, name),
    ) as [string, string, string, string]
    for (const path of [checkout, home, bin, blocks]) mkdirSync(path)
    clone(checkout)
    writeNpm(bin)
    const env = environment(home, bin)
    const terminal = (name: string) => {
      const opened = terminals.get(name) ?? openTerminal({ name, cwd: checkout, env, directory: blocks })
      terminals.set(name, opened)
      return opened
    }
    await walk(steps, terminal)
    const left = leftIn(checkout)
    if (left !== "") throw new Deviation(1, "the walk left files in the checkout that git would add", left)
    return 0
  } catch (error) {
    if (!(error instanceof Deviation)) throw error
    process.stdout.write(`${error.document}:${error.line}: ${error.message}\n${error.output}\n`)
    return 1
  } finally {
    for (const terminal of terminals.values()) await terminal.close()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** A difference from the document. */
class Deviation extends Error {
  document = "README.md"
  readonly line: number
  readonly output: string

  constructor(line: number, message: string, output: string) {
    super(message)
    this.line = line
    this.output = output
  }
}

async function walk(steps: readonly PlacedStep[], terminal: (name: string) => Terminal): Promise<void> {
  const running = new Map<string, Run>()
  for (const { document, step } of steps) {
    const begun = performance.now()
    try {
      await take(step, running, terminal)
    } catch (error) {
      if (error instanceof Deviation) error.document = document
      throw error
    }
    const seconds = ((performance.now() - begun) / 1000).toFixed(1)
    process.stdout.write(`${document}:${step.line}: ${describe(step)} (${seconds} s)\n`)
  }
  if (running.size > 0)
    throw new Deviation(
      steps.at(-1)!.step.line,
      `the walk ends, but these still run: ${[...running.keys()].join(", ")}`,
      "",
    )
}

async function take(
  step: Step,
  running: Map<string, Run>,
  terminal: (name: string) => Terminal,
): Promise<void> {
  for (const [name, run] of running)
    if (run.ended() !== undefined)
      throw new Deviation(step.line, `the command in the terminal ${name} has ended by itself`, run.output())
  if (step.kind === "interruption") await interrupt(step, running, terminal)
  else if (step.terminal === MAIN) await type(step, terminal(MAIN))
  else running.set(step.terminal, await startIn(step, terminal(step.terminal)))
}

const describe = (step: Step): string =>
  step.kind === "interruption" ? `Ctrl-C in ${step.terminals.join(", ")}` : step.script.split("\n")[0]!

function show(output: string): void {
  process.stdout.write(output.replace(/^(?=.)/gm, "    "))
}

/** Types a block and waits until it ends with the expected output. */
async function type(step: Commands, terminal: Terminal): Promise<void> {
  const until = performance.now() + BOUND_MS
  for (;;) {
    const run = terminal.run(step.script)
    while (run.ended() === undefined) {
      if (performance.now() > until) throw new Deviation(step.line, "has not ended", run.output())
      await sleep(POLL_MS)
    }
    const wanted = missing(step.expected, run.output())
    const failed = run.ended()?.failed
    if (failed === undefined && wanted === undefined) return show(run.output())
    if (step.again && performance.now() < until) {
      await sleep(AGAIN_MS)
      continue
    }
    if (failed !== undefined)
      throw new Deviation(step.line + failed.line - 1, `ended with ${failed.code}`, run.output())
    throw new Deviation(wanted!.line, `not in the output: ${wanted!.text}`, run.output())
  }
}

/** Types a block that keeps running, and waits for the expected output. */
async function startIn(step: Commands, terminal: Terminal): Promise<Run> {
  const until = performance.now() + BOUND_MS
  const run = terminal.run(step.script)
  for (;;) {
    const ended = run.ended()
    const wanted = missing(step.expected, run.output())
    if (ended !== undefined)
      throw new Deviation(
        step.line + (ended.failed?.line ?? 1) - 1,
        `ended with ${ended.failed?.code ?? 0} but should keep running`,
        run.output(),
      )
    if (wanted === undefined) return run
    if (performance.now() > until)
      throw new Deviation(wanted.line, `not in the output: ${wanted.text}`, run.output())
    await sleep(POLL_MS)
  }
}

async function interrupt(
  { line, terminals }: Interruption,
  running: Map<string, Run>,
  terminal: (name: string) => Terminal,
): Promise<void> {
  for (const name of terminals) {
    const run = running.get(name)
    if (run === undefined) throw new Deviation(line, `nothing runs in the terminal ${name}`, "")
    terminal(name).interrupt()
    const until = performance.now() + BOUND_MS
    while (run.ended() === undefined) {
      if (performance.now() > until)
        throw new Deviation(line, `Ctrl-C does not end the command in the terminal ${name}`, run.output())
      await sleep(POLL_MS)
    }
    running.delete(name)
  }
}

/** The prerequisites that the document names. */
async function ensurePrograms(): Promise<void> {
  const [major] = execFileSync("node", ["--version"], { encoding: "utf8" }).slice(1).split(".")
  if (Number(major) < 20) throw new Error(`the README asks for Node 20 or newer, and PATH has ${major}`)
  for (const name of ["git", "bash", "curl", "openssl"])
    await ensureProgram(name, { packages: { apt: name, dnf: name, apk: name, brew: name } })
  await ensureProgram("xxd", { packages: { apt: "xxd", dnf: "vim-common", apk: "xxd" } })
  await ensureProgram("redis-server", { packages: { apt: "redis-server", dnf: "redis", apk: "redis" } })
}

/** The environment: only the machine's own programs, without those that npm puts first on PATH. */
function environment(home: string, bin: string): Record<string, string> {
  const own = (process.env.PATH ?? "")
    .split(delimiter)
    .filter((path) => !/node_modules[/\\]\.bin$|node-gyp-bin$/.test(path))
  return {
    ...{ HOME: home, PATH: [bin, ...own].join(delimiter), LANG: "C.UTF-8", TERM: "dumb" },
    TMPDIR: tmpdir(),
    npm_config_update_notifier: "false",
  }
}

process.exitCode = await main()
