/** A row of the fault matrix: a fault that is injected many times, and what must hold afterwards. */

import { tmpdir } from "node:os"
import { join } from "node:path"
import { runCli } from "@unseal/test/harness/process"
import type { Protection } from "../rig/settings.ts"
import { watchAccounts } from "./accounts.ts"
import { watchAlerts } from "./alert-watch.ts"
import type { ExpectedAlerts } from "./alerts.ts"
import { type CheckOptions, check, openUploads, type Violation } from "./check.ts"
import { startWorld, type World, type WorldOptions } from "./world/world.ts"

export interface RowOptions {
  readonly seed: number
  /** The share of the full numbers; 1 is all of them. */
  readonly scale: number
  readonly protectionsOff?: readonly Protection[]
  /** Violations are expected, so no history is written for them. */
  readonly expectsViolations?: boolean
  /** The alerts that must fire. Absent: no Prometheus watches. */
  readonly alerts?: ExpectedAlerts
  /** Called now and then with the progress. */
  readonly progress?: (text: string) => void
}

export interface RowResult {
  /** What was done, with numbers. */
  readonly runs: string
  /** The result, with numbers. */
  readonly measured: string
  readonly violations: readonly Violation[]
}

export interface Row {
  readonly name: string
  readonly fault: string
  readonly demand: string
  run(options: RowOptions): Promise<RowResult>
}

/** `count` scaled, but at least `least`. */
export const scaled = (count: number, { scale }: RowOptions, least = 1): number =>
  Math.max(least, Math.round(count * scale))

/** A scenario's findings in addition to the invariants. */
export interface Findings {
  readonly runs: string
  readonly measured: string
  /** What the row demanded and did not get. */
  readonly failures?: readonly string[]
  readonly check?: CheckOptions
}

/**
 * Runs `scenario` in a world of its own, and checks the invariants at its end. An exception counts as I7: something was not done
 * within its bound. If there are violations, the history goes to a file, which they name.
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
  const alerts = options.alerts && (await watchAlerts(world, options.alerts))
  try {
    let findings: Findings = { runs: "", measured: "not finished" }
    const violations: Violation[] = []
    try {
      findings = await scenario(world)
    } catch (error) {
      violations.push({ invariant: "I7", what: (error as Error).message })
    }
    // A fault still in the plan would strike the checker as well.
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
    const watched = await alerts?.end()
    for (const what of watched?.failures ?? []) violations.push({ invariant: "alerts", what })
    const measured = `${findings.measured}; uploads left for the janitor: ${left}; accounts read ${accounts.looks} times${watched ? `; ${watched.measured}` : ""}`
    return { runs: findings.runs, measured, violations }
  } finally {
    accounts.stop()
    await alerts?.close()
    await world.close()
  }
}

/** Runs the janitor, as it runs regularly. Only it can find an upload that was begun right before a kill. */
async function sweep(world: World): Promise<void> {
  const { code, stderr } = await runCli(["janitor", "--older-than", "0s"], { env: world.workerEnv })
  if (code !== 0) throw new Error(`the janitor ended with ${code}: ${stderr}`)
}

/** Runs `work` `count` times, `atOnce` at a time, started in order. */
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

/** Resolves when `holds` is true, checked every 50 ms. Rejects after `ms`, saying that `what` did not come. */
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

/** A random archive size: mostly one part, sometimes several; 1 to 24 MB, smaller if time is short. */
export function randomSize({ random }: World, largestMib: number): number {
  const small = random.next() < 0.7
  return MIB * (small ? random.integer(1, largestMib > 12 ? 4 : 2) : random.integer(6, largestMib))
}
