/**
 * Watches that every run makes progress. A timer renews a run's lock even if the run is stuck, so renewals prove nothing. Progress
 * is a step that begins or ends, or a byte that moves.
 */

/** `part` is timed; `shared` waits for something that other runs of the process hold. */
export type StepKind = "part" | "shared" | "once"

/** What a run reports about itself. */
export interface RunProgress {
  /** The run waits for what `step` names, as in "reading part 3", until the returned function is called. */
  begin(step: string, kind?: StepKind): () => void
  /** Bytes have moved. */
  moved(): void
}

/** A run without any progress for so long that it counts as stuck. The reason of the abort; the attempt counts. */
export class RunStuckError extends Error {
  override readonly name = "RunStuckError"
}

export interface WatchdogLimits {
  /** No run is stuck earlier. Default 10 minutes. */
  readonly limitMs?: number
  /** How long a run may take to end after its abort before the process ends itself. Default: a minute. */
  readonly graceMs?: number
  /** The interval of checks. Default 10 s. */
  readonly checkMs?: number
}

/** The limit is this many times the usual time of a part, if that is longer. */
const USUAL_PARTS = 20
/** The weight of the latest part in the usual time. */
const LATEST = 0.05

export interface Watchdog {
  /** Watches one run until `end`. Calls `abort` once if the run is stuck. */
  watch(name: string, abort: (reason: RunStuckError) => void): { readonly progress: RunProgress; end(): void }
  /** For each watched run, how long it has been without progress, in milliseconds. */
  idleMs(): readonly number[]
  close(): void
}

interface Step {
  readonly name: string
  readonly kind: StepKind
}

interface Run {
  readonly name: string
  readonly steps: Set<Step>
  lastAt: number
  abort(reason: RunStuckError): void
  /** When it was aborted, and what it was waiting for. */
  stuck?: { readonly at: number; readonly what: string }
}

export interface WatchdogOptions extends WatchdogLimits {
  /** Called when a run did not end in its grace. It holds a slot, memory and a lock, and only the end of the process frees them. */
  onHung(error: Error): void
  /** Milliseconds. Default `performance.now`, which ignores changes of the clock. */
  readonly now?: () => number
}

export function createWatchdog(options: WatchdogOptions): Watchdog {
  const { limitMs = 600_000, graceMs = 60_000, checkMs = 10_000, onHung } = options
  const now = options.now ?? (() => performance.now())
  const runs = new Set<Run>()
  let usualPartMs = 0
  /** The last progress of any run: a run that waits for another's memory progresses with it. */
  let anyAt = now()
  let checkedAt = now()

  const timer = setInterval(check, checkMs)
  timer.unref()

  function check(): void {
    // After the process, or its event loop, was frozen, its runs are where they were.
    const pausedMs = Math.max(0, now() - checkedAt - 2 * checkMs)
    checkedAt = now()
    anyAt += pausedMs
    for (const run of runs) run.lastAt += pausedMs
    const limit = Math.max(limitMs, USUAL_PARTS * usualPartMs)
    // Runs that hold what others wait for come first: their end is the others' progress.
    for (const run of [...runs].sort((a, b) => Number(isInnocent(a)) - Number(isInnocent(b)))) {
      if (run.stuck === undefined) judge(run, limit)
      else if (now() - run.stuck.at > graceMs) {
        runs.delete(run)
        const waited = `${seconds(graceMs)} after its abort`
        onHung(new Error(`a run that is stuck did not end within ${waited}: ${run.name}, ${run.stuck.what}`))
      }
    }
  }

  /** A run that only waits for others moves with them. */
  const idleOf = (run: Run): number => now() - (isInnocent(run) ? Math.max(run.lastAt, anyAt) : run.lastAt)

  function judge(run: Run, limit: number): void {
    const idleMs = idleOf(run)
    if (idleMs <= limit) return
    const what = [...new Set([...run.steps].map(({ name }) => name))].join(", ") || "between two steps"
    run.stuck = { at: now(), what }
    anyAt = now()
    run.abort(new RunStuckError(`no part, no step and no byte for ${seconds(idleMs)} while ${what}`))
  }

  return {
    watch(name, abort) {
      const run: Run = { name, abort, steps: new Set(), lastAt: now() }
      runs.add(run)
      const moved = () => {
        run.lastAt = anyAt = now()
      }
      return {
        progress: {
          moved,
          begin(name, kind = "once") {
            const step = { name, kind }
            const beganAt = now()
            run.steps.add(step)
            moved()
            return () => {
              if (!run.steps.delete(step)) return
              moved()
              if (kind === "part") usualPartMs += (now() - beganAt - usualPartMs) * LATEST
            }
          },
        },
        end() {
          runs.delete(run)
          anyAt = now()
        },
      }
    },
    idleMs: () => [...runs].map((run) => idleOf(run)),
    close: () => clearInterval(timer),
  }
}

/** Whether a run only waits for others. */
const isInnocent = ({ steps }: Run): boolean =>
  steps.size > 0 && [...steps].every(({ kind }) => kind === "shared")

const seconds = (ms: number): string => `${Math.round(ms / 100) / 10} s`
