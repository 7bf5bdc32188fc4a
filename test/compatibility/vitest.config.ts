import { join, resolve } from "node:path"
import { defineConfig } from "vitest/config"

/** Against third-party servers. They are installed if need be, which takes minutes, so this is not part of `npm test`. */
export default defineConfig({
  root: resolve(import.meta.dirname, "../.."),
  test: {
    include: ["test/compatibility/**/*.compat.ts"],
    reporters: ["default", join(import.meta.dirname, "../reporter.ts")],
    testTimeout: 120_000,
    hookTimeout: 900_000,
    maxWorkers: 1,
  },
})
