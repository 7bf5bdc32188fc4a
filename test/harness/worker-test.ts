/** Tests with real workers, side by side: they mostly wait, for locks to expire and for suspensions to be probed. */
import { test as base, type ExpectStatic } from "vitest"
import { startWorkerSystem, type WorkerSystem } from "./worker-system.ts"

/**
 * A `test` with a system of its own for each case. `create` makes the tools that the file's cases share. Its `expect` is the
 * case's own: while several cases run, `expect.poll` needs it. What it defers is done before the system is closed.
 */
export const testWith = <Tools>(
  create: (system: WorkerSystem, expect: ExpectStatic, defer: (end: () => Promise<void>) => void) => Tools,
  options?: Parameters<typeof startWorkerSystem>[0],
) =>
  base
    // biome-ignore lint/correctness/noEmptyPattern: Vitest reads from it that there is nothing to set up before.
    .extend("system", async ({}, { onCleanup }) => {
      const system = await startWorkerSystem(options)
      onCleanup(() => system.close())
      return system
    })
    .extend("at", ({ system, task }, { onCleanup }) => {
      const ends = new AsyncDisposableStack()
      onCleanup(() => ends.disposeAsync())
      return create(system, task.context.expect, (end) => ends.defer(end))
    })
