/**
 * Tests any history of runs, faults, crashes and meddling against a model of what may be at the destination. A history is a list of
 * steps in plain data. If one fails, add its printed form to `regressions`.
 */

import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { lastRun, take } from "../../../../../test/harness/archive-model/histories.ts"
import type {
  Content,
  Interruption,
  Model,
  RunOptions,
  Step,
} from "../../../../../test/harness/archive-model/model.ts"
import { createWorld, root, type World } from "../../../../../test/harness/archive-model/world.ts"

const contents: fc.Arbitrary<Content> = fc.oneof(
  // Only versions of equal size can be mixed.
  { weight: 9, arbitrary: fc.constantFrom<Content>({ blocks: 141 }, { packets: 12 }) },
  { weight: 4, arbitrary: fc.record({ packets: fc.integer({ min: 0, max: 24 }) }) },
  { weight: 4, arbitrary: fc.record({ blocks: fc.integer({ min: 0, max: 288 }) }) },
  { weight: 1, arbitrary: fc.record({ broken: fc.constantFrom("cut" as const, "foreign" as const) }) },
)
const runOptions: fc.Arbitrary<RunOptions> = fc.record({
  partSize: fc.constantFrom(752, 1504, 4512, 752, 1504, 752),
  parts: fc.constantFrom(1, 3),
  digest: fc.constantFrom("sha256" as const, "none" as const),
  announced: fc.boolean(),
  tail: fc.oneof(
    { weight: 3, arbitrary: fc.constant("keep" as const) },
    { weight: 1, arbitrary: fc.constant("trim" as const) },
  ),
  existing: fc.constantFrom("fail" as const, "replace" as const),
  checkpoint: fc.oneof(
    { weight: 4, arbitrary: fc.constant("kept" as const) },
    { weight: 1, arbitrary: fc.constant("none" as const) },
  ),
})
const interruptions: fc.Arbitrary<Interruption> = fc.record({
  call: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 60 })),
  when: fc.constantFrom("before" as const, "after" as const),
  what: fc.constantFrom("crash", "transient", "permanent", "abort", "source", "foreign"),
})
const one = <Name extends string>(name: Name) => fc.constant(name)
const steps: fc.Arbitrary<Step>[] = [
  ...Array(2).fill(fc.record({ do: one("put"), content: contents })),
  fc.record({ do: one("remove"), key: fc.constantFrom("source", "destination", "record") }),
  fc.record({ do: one("foreign") }),
  fc.record({ do: one("lose checkpoint") }),
  fc.record({ do: one("run"), options: runOptions }),
  ...Array(4).fill(fc.record({ do: one("run"), options: runOptions, interruption: interruptions })),
  fc.record({ do: one("run twice at once"), options: runOptions }),
]

const command = (step: Step): fc.AsyncCommand<Model, World> => ({
  check: () => true,
  run: (model, world) => take(step, world, model),
  toString: () => JSON.stringify(step),
})

/** A history begins with an archive at the source. It ends with a run that must finish, whatever happened before. */
async function runHistory(history: (world: World, model: Model) => Promise<void>, first: Content) {
  const world = await createWorld(root)
  const model: Model = { source: null, destination: null }
  try {
    await take({ do: "put", content: first }, world, model)
    await history(world, model)
    if (model.source === null || model.source.broken) await take({ do: "put", content: first }, world, model)
    await take({ do: "run", options: lastRun }, world, model)
  } finally {
    await world.close()
  }
}

/** How many the search tries per run. */
const HISTORIES = 400

const usual = { partSize: 752, parts: 1, digest: "sha256", announced: false, checkpoint: "kept" } as const

/** Histories that once failed, or that chance would rarely find. `runHistory` adds the last run. */
const regressions: [fact: string, first: Content, steps: readonly Step[]][] = [
  [
    "a part that one live run still writes when another has made the file visible does not take its marks",
    { blocks: 141 },
    [
      {
        do: "run",
        options: { ...usual, tail: "keep", existing: "fail" },
        interruption: { call: 6, when: "before", what: "abort" },
      },
      { do: "run twice at once", options: { ...usual, tail: "keep", existing: "replace" } },
      { do: "run twice at once", options: { ...usual, tail: "keep", existing: "fail" } },
    ],
  ],
  [
    "a run that finds its archive there ends the upload that its checkpoint still names",
    { packets: 1 },
    [
      {
        do: "run",
        options: { ...usual, tail: "keep", existing: "fail" },
        interruption: { call: 12, when: "before", what: "crash" },
      },
      {
        do: "run",
        options: { ...usual, tail: "trim", existing: "replace" },
        interruption: { call: 11, when: "after", what: "abort" },
      },
    ],
  ],
  [
    "the ciphertext of an archive that is nothing but a trimmed padding is not recorded as that of nothing",
    { packets: 0 },
    [{ do: "run", options: { ...usual, announced: true, tail: "trim", existing: "fail" } }],
  ],
  [
    "an upload that was cut short is not resumed from another version of the same size",
    { blocks: 141 },
    [
      {
        do: "run",
        options: { ...usual, digest: "none", tail: "keep", existing: "fail" },
        interruption: { call: 10, when: "before", what: "crash" },
      },
      { do: "put", content: { blocks: 141 } },
    ],
  ],
]

describe("any history of runs, faults, crashes and meddling", () => {
  it.each(regressions)("%s", async (_, first, history) => {
    await runHistory(async (world, model) => {
      for (const step of history) await take(step, world, model)
    }, first)
  })

  it("leaves nothing or exactly one version's plaintext at the destination, and converges", async () => {
    const commands = fc.commands(
      steps.map((step) => step.map(command)),
      { maxCommands: 8, size: "max" },
    )
    let histories = 0
    let taken = 0
    await fc.assert(
      fc.asyncProperty(
        contents.filter((content) => !("broken" in content)),
        commands,
        async (first, all) => {
          histories++
          await runHistory(async (world, model) => {
            await fc.asyncModelRun(() => ({ model, real: world }), all)
            taken += [...all].length
          }, first)
        },
      ),
      // A search that was cut short proves nothing, so it fails.
      { numRuns: HISTORIES, interruptAfterTimeLimit: 150_000, markInterruptAsFailure: true },
    )
    console.log(`the model: ${histories} histories of ${taken} steps`)
    expect(histories).toBe(HISTORIES)
  })
})
