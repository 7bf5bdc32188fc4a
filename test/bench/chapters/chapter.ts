import type { Bench } from "../bench-context.ts"
import type { Section } from "../report.ts"

export interface Chapter {
  /** The name that `--chapter` and the markers in docs/performance.md use. */
  readonly name: string
  readonly title: string
  run(bench: Bench): Promise<Section>
}
