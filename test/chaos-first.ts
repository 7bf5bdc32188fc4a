import { BaseSequencer, type TestSpecification } from "vitest/node"

/**
 * Begins with the chaos suite, which takes minutes and mostly waits: begun last, it would run alone at the end, and a run
 * would take as much longer. All other files come in Vitest's own order.
 */
export default class ChaosFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isChaos = ({ moduleId }: TestSpecification) => moduleId.endsWith("/test/chaos/short.test.ts")
    return [...sorted.filter(isChaos), ...sorted.filter((file) => !isChaos(file))]
  }
}
