/** What a run is doing, for observers that check its progress. */

/** `part`: reading or writing one part · `shared`: waiting for what other archives hold · `once`: anything else. */
export type StepKind = "part" | "shared" | "once"

export interface StepObserver {
  /** The run waits for what `step` names, as in "reading part 3", until the returned function is called. */
  step?(step: string, kind: StepKind): () => void
  /** Bytes of a part have arrived, or have left. */
  moved?(bytes: number): void
}

/** The result of `work`. Meanwhile `observe` knows that the run waits for it. */
export async function during<Result>(
  observe: StepObserver | undefined,
  step: string,
  work: () => Promise<Result>,
  kind: StepKind = "once",
): Promise<Result> {
  const over = observe?.step?.(step, kind)
  try {
    return await work()
  } finally {
    over?.()
  }
}
