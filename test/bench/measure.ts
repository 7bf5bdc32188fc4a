/** The cost of a run: time, processor time, memory. */
import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { findPackageJSON } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import type { Native } from "./native.ts"

export interface Cost {
  readonly seconds: number
  /** User and system time of all its processes, without the endpoint's. */
  readonly cpuSeconds: number
  /** The sum over processes that run at the same time. */
  readonly peakRssBytes: number
}

/** Commands that run after one another, each a pipeline of one or more. */
export type Commands = readonly (readonly (readonly string[])[])[]

export interface RunOptions {
  readonly env: Readonly<Record<string, string>>
  readonly timeoutSeconds: number
}

interface Measured {
  readonly seconds: number
  readonly givenUp: boolean
  readonly groups: readonly (readonly {
    readonly exit: number
    readonly signal: number
    readonly cpuSeconds: number
    readonly peakRssBytes: number
  }[])[]
}

/** Runs `commands` to their end. Throws an `Error` with their output if any does not exit with 0. */
export async function measureCommands(
  native: Native,
  commands: Commands,
  { env, timeoutSeconds }: RunOptions,
): Promise<Cost> {
  const directory = mkdtempSync(join(tmpdir(), "unseal-measure-"))
  try {
    const result = join(directory, "result.json")
    const args = commands.map((group) => group.map((command) => [...command]).reduce(joinBy(":pipe:")))
    const { stdout, stderr } = await promisify(execFile)(
      native.measure,
      [result, String(timeoutSeconds), ...args.reduce(joinBy(":then:"))],
      { env: { PATH: process.env.PATH ?? "", HOME: directory, ...env }, maxBuffer: 1 << 24 },
    )
    const measured = JSON.parse(readFileSync(result, "utf8")) as Measured
    const processes = measured.groups.flat()
    if (measured.givenUp) throw new Error(`gave up after ${timeoutSeconds} s`)
    const failed = processes.findIndex(({ exit }) => exit !== 0)
    if (failed >= 0) {
      const { exit, signal } = processes[failed]!
      const ending = signal ? `signal ${signal}` : `exit code ${exit}`
      throw new Error(
        `${commands.flat()[failed]![0]} ended with ${ending}: ${(stderr || stdout).trim().slice(-500)}`,
      )
    }
    return {
      seconds: measured.seconds,
      cpuSeconds: sum(processes.map(({ cpuSeconds }) => cpuSeconds)),
      peakRssBytes: Math.max(
        ...measured.groups.map((group) => sum(group.map(({ peakRssBytes }) => peakRssBytes))),
      ),
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** The version of an npm package that is installed here. */
export function packageVersion(name: string): string {
  const file = findPackageJSON(name, import.meta.url)
  if (file === undefined) throw new Error(`${name} is not installed`)
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version
}

const joinBy = (word: string) => (left: string[], right: string[]) => [...left, word, ...right]

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

const TICKS_PER_SECOND = 100

/** Processor seconds that a running process has used so far. */
export function cpuSecondsOf(pid: number): number {
  // The command's name, in parentheses, may hold anything.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ")
  const [user, system] = [fields[11], fields[12]]
  return (Number(user) + Number(system)) / TICKS_PER_SECOND
}

/** The peak memory of a running process so far. */
export function peakRssOf(pid: number): number {
  const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? []
  return Number(kibibytes) * 1024
}
