/**
 * Watches that every run gets on. A run's lock is renewed by a timer, however stuck it is, so a renewal says nothing: what counts is a
 * step that begins or ends, and a byte that moves.
 */

/** `part` is timed; `shared` waits for what the other runs of the process hold. */
export type StepKind = "part" | "shared" | "once"

/** What a run tells of itself. */
export interface RunProgress {
  /** The run waits for what `step` names, as in "reading part 3", until the function that is returned is called. */
  begin(step: string, kind?: StepKind): () => void
  /** Bytes have moved. */
  moved(): void
}

/** A run without any progress for so long that it is taken to be stuck. The reason of the abort; the attempt counts. */
export class RunStuckError extends Error {
  override readonly name = "RunStuckError"
}

export interface WatchdogLimits {
  /** No run is stuck earlier: 10 minutes. */
  readonly limitMs?: number
  /** How long a run may take to end after its abort before the process ends itself: a minute. */
  readonly graceMs?: number
  /** How often is looked: every 10 s. */
  readonly checkMs?: number
}

/** A limit is so many times what a part usually takes, if that is longer. */
const USUAL_PARTS = 20
/** Weight of the latest part in what is usual. */
const LATEST = 0.05

export interface Watchdog {
  /** Watches one run until `end`. `abort` is called once, if the run is stuck. */
  watch(name: string, abort: (reason: RunStuckError) => void): { readonly progress: RunProgress; end(): void }
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
  /** Called when a run did not end in its grace; it holds a slot, memory and a lock, and nothing but the end of the process frees them. */
  onHung(error: Error): void
  /** Milliseconds; `performance.now`, which no clock that is set changes. */
  readonly now?: () => number
}

export function createWatchdog(options: WatchdogOptions): Watchdog {
  const { limitMs = 600_000, graceMs = 60_000, checkMs = 10_000, onHung } = options
  const now = options.now ?? (() => performance.now())
  const runs = new Set<Run>()
  let usualPartMs = 0
  /** Of any run: what waits for another's memory gets on with it. */
  let anyAt = now()
  let checkedAt = now()

  const timer = setInterval(check, checkMs)
  timer.unref()

  function check(): void {
    // A process that was frozen, or whose event loop was, finds its runs as it left them.
    const pausedMs = Math.max(0, now() - checkedAt - 2 * checkMs)
    checkedAt = now()
    anyAt += pausedMs
    for (const run of runs) run.lastAt += pausedMs
    const limit = Math.max(limitMs, USUAL_PARTS * usualPartMs)
    // Those who hold what others wait for come first: their end is the others' progress.
    for (const run of [...runs].sort((a, b) => Number(isInnocent(a)) - Number(isInnocent(b)))) {
      if (run.stuck === undefined) judge(run, limit)
      else if (now() - run.stuck.at > graceMs) {
        runs.delete(run)
        const waited = `${seconds(graceMs)} after its abort`
        onHung(new Error(`a run that is stuck did not end within ${waited}: ${run.name}, ${run.stuck.what}`))
      }
    }
  }

  function judge(run: Run, limit: number): void {
    const idleMs = now() - (isInnocent(run) ? Math.max(run.lastAt, anyAt) : run.lastAt)
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
    close: () => clearInterval(timer),
  }
}

/** Whether a run waits for others alone. */
const isInnocent = ({ steps }: Run): boolean =>
  steps.size > 0 && [...steps].every(({ kind }) => kind === "shared")

const seconds = (ms: number): string => `${Math.round(ms / 100) / 10} s`
