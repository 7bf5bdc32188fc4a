import { relative } from "node:path"
import { BaseSequencer, type TestSpecification } from "vitest/node"

/**
 * The files that take longest, the longest first. Begun among the last, such a file would run alone at the end, with one of two
 * workers idle. A fresh clone has no times of earlier runs from which Vitest could tell.
 */
const LONGEST = [
  "test/chaos/short.test.ts",
  "test/readme/readme.test.ts",
  "test/end-to-end/redis/forms.test.ts",
  "test/secrecy/canary.test.ts",
  "test/end-to-end/pipeline/resume.test.ts",
  "test/end-to-end/stores/silence.test.ts",
  "test/end-to-end/pipeline/pipeline.test.ts",
  "test/conformance/azure/azure.test.ts",
  "test/conformance/s3/s3.test.ts",
  "packages/archive/src/decrypt/runs/archive.model.test.ts",
]

/** Begins with the longest files. All others come in Vitest's own order. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const place = ({ moduleId }: TestSpecification) => {
      const at = LONGEST.indexOf(relative(this.ctx.config.root, moduleId))
      return at < 0 ? LONGEST.length : at
    }
    return sorted.toSorted((one, other) => place(one) - place(other))
  }
}
