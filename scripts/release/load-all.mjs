// Loads every file of the Unseal that is installed in the current folder, but for those that start something. compile.mjs has it
// loaded before a process's own.
import { readdirSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"

const dist = join(process.cwd(), "node_modules/unseal/dist")
const STARTS = /^(unseal|main|hash-thread)\b/
const require = createRequire(join(dist, "unseal.mjs"))
for (const name of readdirSync(dist).toSorted()) {
  if (!name.endsWith(".mjs") || STARTS.test(name)) continue
  try {
    // One after the other, in the same order each time.
    require(join(dist, name))
  } catch (error) {
    if (error.code !== "ERR_REQUIRE_ASYNC_MODULE") throw error
    await import(join(dist, name))
  }
}
