/** The system's processes, started as an operator starts them: by their entry file, with settings in the environment. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { join, resolve } from "node:path"
import { createInterface } from "node:readline"
import { neverOrphan } from "./orphans.ts"

const root = resolve(import.meta.dirname, "../..")

export type AppName = "ingest" | "worker" | "console" | "simulator"

/** One line of a process's log. */
export type LogLine = Readonly<Record<string, unknown>>

export interface AppProcess {
  readonly pid: number
  /** From the line `"msg":"listening"`. */
  readonly ports: Readonly<Record<string, number>>
  /** All lines so far, parsed. */
  readonly log: readonly LogLine[]
  readonly stderr: () => string
  kill(signal: NodeJS.Signals): void
  /** `false` once it has ended. */
  running(): boolean
  /** Resolves when the process has ended: to its exit code, or `null` if a signal ended it. */
  readonly exited: Promise<number | null>
  /** Sends SIGTERM, and SIGKILL after 15 s. Resolves to the exit code. */
  stop(): Promise<number | null>
}

export interface StartOptions {
  readonly env: Readonly<Record<string, string>>
  readonly onLine?: (line: LogLine) => void
  /** A command prefix that executes the rest, as `env` does. It determines where the process runs. */
  readonly within?: readonly string[]
}

/** The only variables taken from the developer's environment: what a program needs to run at all. */
const INHERITED = ["PATH", "HOME", "TMPDIR", "LANG", "NODE_OPTIONS", "NODE_COMPILE_CACHE"] as const

/**
 * The entry file of `npm run start:NAME`. With `RIG=1` in `env` it is that of test/rig, which loads a main that wraps the
 * product's.
 */
function entryOf(name: AppName, env: StartOptions["env"]): string {
  if (env.RIG === "1") return `test/rig/unseal-${name}.mjs`
  const stray = Object.keys(env).find((setting) => setting.startsWith("RIG_"))
  if (stray !== undefined) throw new Error(`${stray} has no effect without RIG=1`)
  return `apps/${name}/bin/unseal-${name}.mjs`
}

/** Starts `apps/NAME` and waits until it listens. If it ends before, rejects with its stderr. */
export async function startApp(
  name: AppName,
  { env, onLine, within = [] }: StartOptions,
): Promise<AppProcess> {
  const [command, ...rest] = [...within, process.execPath, entryOf(name, env)]
  const child = spawn(command!, rest, {
    cwd: root,
    env: { ...inherited(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  neverOrphan(child)
  const log: LogLine[] = []
  let stderr = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text
  })
  const exited = once(child, "exit").then(([code]) => code as number | null)
  const ports = await new Promise<Record<string, number>>((listening, failed) => {
    createInterface({ input: child.stdout }).on("line", (text) => {
      const line = parseLine(text)
      log.push(line)
      onLine?.(line)
      if (line.msg === "listening") listening(line.ports as Record<string, number>)
    })
    exited.then((code) => {
      const last = log.slice(-5).map((line) => JSON.stringify(line))
      failed(new Error(`${name} ended with ${code} before it listened:\n${stderr}${last.join("\n")}`))
    })
    child.once("error", failed)
  })
  return {
    pid: child.pid!,
    ports,
    log,
    stderr: () => stderr,
    kill: (signal) => void child.kill(signal),
    running: () => child.exitCode === null && child.signalCode === null,
    exited,
    stop: () => stop(child, exited),
  }
}

function inherited(): Record<string, string> {
  return Object.fromEntries(
    INHERITED.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])),
  )
}

function parseLine(text: string): LogLine {
  try {
    return JSON.parse(text) as LogLine
  } catch {
    return { msg: text, unparsed: true }
  }
}

async function stop(child: ChildProcess, exited: Promise<number | null>): Promise<number | null> {
  child.kill("SIGTERM")
  const force = setTimeout(() => child.kill("SIGKILL"), 15_000)
  try {
    return await exited
  } finally {
    clearTimeout(force)
  }
}

export interface CliResult {
  /** `null` if a signal ended it. */
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

/** Longer than any command of the tests takes on a slow machine. After that the command is stuck. */
const CLI_BOUND_MS = 60_000

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: Uint8Array
  /** After this time it is killed. Default 60 s. */
  readonly boundMs?: number
}

/**
 * Runs `unseal ARGS` through the same entry as `npx unseal`. If it does not end in time, rejects with its output so far, which the
 * test's own time limit would not show.
 */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const { boundMs = CLI_BOUND_MS } = options
  const child = spawn(process.execPath, [join(root, "apps/cli/bin/unseal.mjs"), ...args], {
    env: { ...inherited(), ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  })
  const stdout: Buffer[] = []
  let stderr = ""
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk))
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text
  })
  // A command that ends before it has read everything closes its input.
  child.stdin.on("error", () => {})
  child.stdin.end(options.input)
  let isStuck = false
  const bound = setTimeout(() => {
    isStuck = true
    child.kill("SIGKILL")
  }, boundMs)
  const [code] = (await once(child, "close")) as [number | null]
  clearTimeout(bound)
  const out = Buffer.concat(stdout)
  if (isStuck)
    throw new Error(
      `unseal ${args.join(" ")} had not ended after ${boundMs / 1000} s and was killed\nstderr: ${stderr}\nstdout: ${out.subarray(0, 2_000)}`,
    )
  return { code, stdout: out, stderr }
}
