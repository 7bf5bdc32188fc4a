/** A row of the fault matrix: a fault that is injected so many times, and what must hold afterwards. */

import { tmpdir } from "node:os"
import { join } from "node:path"
import { runCli } from "@unseal/test/harness/process"
import type { Protection } from "../rig/settings.ts"
import { watchAccounts } from "./accounts.ts"
import { type CheckOptions, check, openUploads, type Violation } from "./check.ts"
import { startWorld, type World, type WorldOptions } from "./world/world.ts"

export interface RowOptions {
  readonly seed: number
  /** Of the full numbers: 1 for all of them. */
  readonly scale: number
  readonly protectionsOff?: readonly Protection[]
  /** Then no history is kept of what was wanted. */
  readonly expectsViolations?: boolean
  /** Told now and then how far it is. */
  readonly progress?: (text: string) => void
}

export interface RowResult {
  /** What was done, with numbers. */
  readonly runs: string
  /** What came of it, with numbers. */
  readonly measured: string
  readonly violations: readonly Violation[]
}

export interface Row {
  readonly name: string
  readonly fault: string
  readonly demand: string
  run(options: RowOptions): Promise<RowResult>
}

/** `count` scaled, at least `least`. */
export const scaled = (count: number, { scale }: RowOptions, least = 1): number =>
  Math.max(least, Math.round(count * scale))

/** What a scenario has to say beside the invariants. */
export interface Findings {
  readonly runs: string
  readonly measured: string
  /** What the row demands and did not get. */
  readonly failures?: readonly string[]
  readonly check?: CheckOptions
}

/**
 * Runs `scenario` in a world of its own and checks the invariants when it is over. What it throws is I7: something was not
 * done within its bound. The history of a world with a violation is written to a file, which the violations name.
 */
export async function inWorld(
  options: RowOptions,
  worldOptions: Omit<WorldOptions, "seed">,
  scenario: (world: World) => Promise<Findings>,
): Promise<RowResult> {
  const world = await startWorld({
    seed: options.seed,
    ...worldOptions,
    ...(options.protectionsOff && { protectionsOff: options.protectionsOff }),
  })
  const accounts = watchAccounts(world)
  try {
    let findings: Findings = { runs: "", measured: "not finished" }
    const violations: Violation[] = []
    try {
      findings = await scenario(world)
    } catch (error) {
      violations.push({ invariant: "I7", what: (error as Error).message })
    }
    // A fault that is still in the plan would strike the checker as well.
    world.s3.faults.clear()
    world.proxy.honest()
    const left = openUploads(world).length
    if (left > 0) await sweep(world)
    for (const what of findings.failures ?? []) violations.push({ invariant: "row", what })
    violations.push(...(await check(world, findings.check)))
    if (!findings.check?.redisTorn) violations.push(...accounts.violations)
    if (violations.length > 0 && !options.expectsViolations) {
      const path = join(tmpdir(), `unseal-chaos-${options.seed}-${Date.now()}.jsonl`)
      world.history.write(path)
      violations.push({ invariant: "row", what: `the history is in ${path}` })
    }
    const measured = `${findings.measured}; uploads left for the janitor: ${left}; accounts read ${accounts.looks} times`
    return { runs: findings.runs, measured, violations }
  } finally {
    accounts.stop()
    await world.close()
  }
}

/** The janitor, as it runs by itself now and then: what was begun in the moment before a kill, nobody else can know of. */
async function sweep(world: World): Promise<void> {
  const { code, stderr } = await runCli(["janitor", "--older-than", "0s"], { env: world.workerEnv })
  if (code !== 0) throw new Error(`the janitor ended with ${code}: ${stderr}`)
}

/** Lets `work` be done `count` times, `atOnce` at a time, in order of beginning. */
export async function many<Result>(
  count: number,
  atOnce: number,
  work: (index: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  let next = 0
  const lane = async () => {
    while (next < count) {
      const index = next++
      results[index] = await work(index)
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, lane))
  return results
}

/** Resolves when `holds`, looking every 50 ms; rejects after `ms` with `what` did not come. */
export async function until(
  what: string,
  ms: number,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + ms
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`${what} did not come within ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

const MIB = 1024 * 1024

/** Sizes of archives: most of one part, some of several; 1 to 24 MB, smaller where time is short. */
export function sizeOf({ random }: World, largestMib: number): number {
  const small = random.next() < 0.7
  return MIB * (small ? random.integer(1, largestMib > 12 ? 4 : 2) : random.integer(6, largestMib))
}
