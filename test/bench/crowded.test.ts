import { expect, test } from "vitest"
import { crowdedRegistries } from "./crowded.ts"

test.each([1_000, 3_000])(
  "with %d projects to each of which everything has happened, a scrape stays under 1 MB and 10,000 series",
  async (projects) => {
    for (const [name, registry] of Object.entries(crowdedRegistries({ projects, projectLabel: true }))) {
      const text = await registry.metrics()
      expect(text.length, name).toBeLessThan(1_000_000)
      expect(text.match(/^[a-z]/gm)!.length, name).toBeLessThan(10_000)
      expect(text, name).toContain('project="other"')
    }
  },
)

test("without the label project, a scrape is as small as with one project", async () => {
  for (const registry of Object.values(crowdedRegistries({ projects: 1_000, projectLabel: false }))) {
    const text = await registry.metrics()
    expect(text.length).toBeLessThan(250_000)
    expect(text).not.toContain("project=")
  }
})
