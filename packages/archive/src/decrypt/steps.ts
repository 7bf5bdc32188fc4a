/** What a run is doing, for observers that check its progress or trace it. */

/** `part`: reading or writing one part · `shared`: waiting for what other archives hold · `once`: anything else. */
export type StepKind = "part" | "shared" | "once"

/** One step of a run. */
export interface Step {
  /** As in "reading part": one of a small set. */
  readonly name: string
  readonly kind: StepKind
  /** The number of the part that it is about. */
  readonly part?: number | undefined
}

export interface StepObserver {
  /** The run waits for what `step` names, as in "reading part 3", until the returned function is called. */
  step?(step: string, kind: StepKind): () => void
  /** Surrounds the work of a step, for tracing. Calls `work` once, and settles as it does. */
  within?<Result>(step: Step, work: () => Promise<Result>): Promise<Result>
  /** Bytes of a part have arrived, or have left. */
  moved?(bytes: number): void
}

/** The result of `work`. Meanwhile `observe` knows that the run waits for it, on behalf of `part` if there is one. */
export async function during<Result>(
  observe: StepObserver | undefined,
  step: string,
  work: () => Promise<Result>,
  kind: StepKind = "once",
  part?: number,
): Promise<Result> {
  // All parts wait for the same memory.
  const name = part === undefined || kind === "shared" ? step : `${step} ${part}`
  const over = observe?.step?.(name, kind)
  try {
    return await (observe?.within ? observe.within({ name: step, kind, part }, work) : work())
  } finally {
    over?.()
  }
}
