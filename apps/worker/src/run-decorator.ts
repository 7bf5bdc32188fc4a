import type { JobContext } from "@unseal/queue/consumer"
import type { Place } from "./places.ts"

/** What surrounds a run: what it works with, and what the queue gives it. */
export interface RunSurroundings {
  readonly place: Place
  readonly context: JobContext
}

/** Wraps what surrounds each run: its source, destination, key ring, checkpoint and fence. */
export interface RunDecorator {
  /** The surroundings of one run, in place of `surroundings`. Called once a run, when its stores and keys are open. */
  around(surroundings: RunSurroundings): RunSurroundings
}

/** `surroundings`, wrapped by each of `decorators`: the first is the innermost. */
export const decorate = (
  surroundings: RunSurroundings,
  decorators: readonly RunDecorator[],
): RunSurroundings => decorators.reduce((inner, decorator) => decorator.around(inner), surroundings)
