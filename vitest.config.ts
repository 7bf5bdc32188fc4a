import { defineConfig } from "vitest/config"
import LongestFirst from "./test/longest-first.ts"

export default defineConfig({
  test: {
    include: ["packages/**/*.test.ts", "apps/**/*.test.ts", "test/**/*.test.ts", "demo/**/*.test.ts"],
    exclude: ["**/node_modules/**", "test/long/**"],
    reporters: ["default", "./test/reporter.ts"],
    testTimeout: 180_000,
    hookTimeout: 300_000,
    // More than the smallest machine has cores: many tests wait more than they work.
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
  },
})
