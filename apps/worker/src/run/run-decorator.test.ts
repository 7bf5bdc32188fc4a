import { expect, test } from "vitest"
import { decorate, type RunDecorator, type RunSurroundings } from "./run-decorator.ts"

test("the first decorator is the innermost, and each gets what the previous one made", () => {
  const named = (name: string): RunDecorator => ({
    around: ({ resources, context }) => ({
      resources,
      context: { ...context, jobId: `${name}(${context.jobId})` },
    }),
  })
  const surroundings = { resources: {}, context: { jobId: "job" } } as unknown as RunSurroundings
  expect(decorate(surroundings, []).context.jobId).toBe("job")
  expect(decorate(surroundings, [named("inner"), named("outer")]).context.jobId).toBe("outer(inner(job))")
})
