import type { JobContext } from "@unseal/queue/run/consumer"
import type { JobResources } from "./project-resources.ts"

/** The surroundings of a run: what it works with, and what the queue gives it. */
export interface RunSurroundings {
  readonly resources: JobResources
  readonly context: JobContext
}

/** Wraps the surroundings of each run: its source, destination, key ring, checkpoint and fence. */
export interface RunDecorator {
  /** Replaces the surroundings of one run. Called once per run, when its stores and keys are open. */
  around(surroundings: RunSurroundings): RunSurroundings
}

/** Wraps `surroundings` with each of `decorators`, the first one innermost. */
export const decorate = (
  surroundings: RunSurroundings,
  decorators: readonly RunDecorator[],
): RunSurroundings => decorators.reduce((inner, decorator) => decorator.around(inner), surroundings)
