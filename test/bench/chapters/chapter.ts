import type { Bench } from "../bench-context.ts"
import type { Section } from "../report.ts"

export interface Chapter {
  /** As `--chapter` and the markers in docs/performance.md have it. */
  readonly name: string
  readonly title: string
  run(bench: Bench): Promise<Section>
}
