/** Gives one of two projects trouble. Checks the outcome of both, and how the other one fares meanwhile. */
import { setTimeout as sleep } from "node:timers/promises"
import { listSuspensions } from "@unseal/queue/suspension/state"
import { openUploads } from "./check.ts"
import { type Findings, type RowOptions, scaled, until } from "./row.ts"
import { PROJECT, QUEUE, SECOND_PROJECT } from "./settings.ts"
import { readJobs, untilSettled } from "./world/jobs.ts"
import type { World } from "./world/world.ts"

const MIB = 1024 * 1024

/** Archives of each project per second. The workers can do far more, so a lower rate means that something held them up. */
const PER_SECOND = 2
/** One archive in this many is large, in rows with large ones. */
const LARGE_EVERY = 8
/** The length of a window. The trouble lasts for several, after one for comparison. */
const WINDOW_MS = 20_000
const WINDOWS = 6
/** How soon after the end of the trouble everything must be done. */
const RECOVERY_MS = 60_000
/** For the full form. Leaves room for a moment in which the machine is busy otherwise. */
const LEAST_RATE = 0.9

export interface Trouble {
  /** Its name in the history. */
  readonly what: string
  begin(): unknown
  /** Called after half of its time. */
  halfway?(): unknown
  end(): unknown
  /** How long workers may go on with what they had before. The windows of the short form are at least as long. */
  readonly feltAfterMs?: number
  /** Whether ended jobs are forgotten early, so that only the stores show that they are done. */
  readonly forgets?: boolean
  /** Whether the trouble must stop the second project. If it doesn't, the row has shown nothing. Default true. */
  readonly stops?: boolean
  /** The size of one archive in eight, in mebibytes. Absent if all are equal. Above 5 it takes several parts. */
  readonly largeMib?: number
}

/** What every such row demands. */
export const DEMAND =
  "0 dead letters, no attempt used, nothing left open; the other project at ≥ 90 % of its rate; all done within 60 s of the end"

/**
 * Gives the second project `trouble` for two minutes, while archives of both arrive at one rate. An archive must need only one
 * attempt, whatever happens while it waits.
 */
export async function throughTrouble(world: World, options: RowOptions, trouble: Trouble): Promise<Findings> {
  const windowMs = scaled(WINDOW_MS, options, trouble.feltAfterMs ?? 4_000)
  const windows = scaled(WINDOWS, options, 2)
  const failures: string[] = []
  const codes = new Set<string>()
  const load = startLoad(world, trouble.largeMib)
  const counts: number[] = []
  let stuck = 0
  try {
    // The backlog from the workers' start is not representative.
    await until("the usual rate", 180_000, () =>
      [PROJECT, SECOND_PROJECT].every((project) => {
        const done = committed(world, project)
        return done > 1 && load.called() - done <= PER_SECOND
      }),
    )
    const usual = await within(windowMs, () => committed(world, PROJECT))
    counts.push(usual)
    world.fault(trouble.what)
    await trouble.begin()
    try {
      for (let window = 1; window <= windows; window++) {
        if (window === Math.floor(windows / 2) + 1) await trouble.halfway?.()
        const before = committed(world, SECOND_PROJECT)
        counts.push(await within(windowMs, () => committed(world, PROJECT)))
        stuck = committed(world, SECOND_PROJECT) - before
        for (const { projectId, side, code } of await listSuspensions(world.client, QUEUE))
          codes.add(`${projectId === PROJECT ? "the other project's " : ""}${side} ${code}`)
        options.progress?.(`window ${window} of ${windows}: ${counts.at(-1)} of the other project`)
      }
    } finally {
      await trouble.end()
      world.fault(`end of: ${trouble.what}`)
    }
  } finally {
    await load.stop()
  }
  const endedAt = performance.now()
  await untilSettled(world, RECOVERY_MS, trouble.forgets)
  const recoveryMs = Math.round(performance.now() - endedAt)

  const [usual = 0, ...during] = counts
  const rate = during.reduce((sum, count) => sum + count, 0) / during.length / usual
  const isFull = options.scale >= 0.5
  if (isFull ? rate < LEAST_RATE : during.some((count) => count === 0))
    failures.push(`the other project fell to ${percent(rate)} of its rate: ${counts.join(", ")}`)
  if (trouble.stops !== false && stuck > 0)
    failures.push(`the trouble did not stop its project: ${stuck} archives in the last window`)
  if ([...codes].some((code) => code.startsWith("the other")))
    failures.push(`the other project was suspended: ${[...codes].join(", ")}`)
  const jobs = await readJobs(world)
  const retried = jobs.filter(({ attempts }) => attempts > 1)
  if (retried.length > 0)
    failures.push(
      `${retried.length} archives have used attempts, up to ${Math.max(...retried.map(({ attempts }) => attempts)) - 1}`,
    )
  const left = openUploads(world)
  if (left.length > 0) failures.push(`${left.length} uploads are open, e.g. of ${left[0]!.key}`)
  return {
    runs: `${jobs.length} archives of two projects, ${Math.round((windows * windowMs) / 1000)} s of trouble`,
    measured: `the other project at ${percent(rate)} of its rate, ${counts.join(" ")} archives a window; suspended: ${[...codes].join(", ") || "nothing"}; all done ${recoveryMs} ms after the end, after ${most(jobs)} starts at most`,
    failures,
    ...(trouble.forgets && { check: { redisForgot: true } }),
  }
}

const percent = (part: number): string => `${Math.round(part * 100)} %`
const most = (jobs: readonly { readonly starts: number }[]): number =>
  Math.max(...jobs.map(({ starts }) => starts))

/** How many archives of a project have become visible. */
const committed = (world: World, projectId: string): number =>
  projectId === SECOND_PROJECT && world.secondDestination
    ? world.secondCommitted()
    : world.versions.keys.filter((key) => key.startsWith(`plain/${projectId}/`) && key.endsWith(".ts")).length

async function within(ms: number, count: () => number): Promise<number> {
  const before = count()
  await sleep(ms)
  return count() - before
}

/** Archives of both projects, at one rate, until it is stopped. */
function startLoad(world: World, largeMib = 1): { called(): number; stop(): Promise<void> } {
  const calls: Promise<unknown>[] = []
  const one = async (size: number, projectId: string) => world.call(await world.record(size, projectId))
  let ticks = 0
  const timer = setInterval(() => {
    const size = (ticks++ % LARGE_EVERY === 0 ? largeMib : 1) * MIB
    for (const projectId of [PROJECT, SECOND_PROJECT]) {
      const call = one(size, projectId)
      // `stop` observes it later.
      call.catch(() => {})
      calls.push(call)
    }
  }, 1000 / PER_SECOND)
  return {
    called: () => calls.length / 2,
    async stop() {
      clearInterval(timer)
      await Promise.all(calls)
    },
  }
}
