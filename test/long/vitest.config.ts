import { join, resolve } from "node:path"
import { defineConfig } from "vitest/config"

/** What installs or builds more than `npm test` may: it takes minutes, and some of it needs root. One file at a time. */
export default defineConfig({
  root: resolve(import.meta.dirname, "../.."),
  test: {
    include: ["test/long/**/*.test.ts"],
    reporters: ["default", join(import.meta.dirname, "../reporter.ts")],
    testTimeout: 600_000,
    hookTimeout: 1_800_000,
    maxWorkers: 1,
  },
})
