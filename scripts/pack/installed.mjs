// What the entries (apps/entry.mjs) find in an installed package, in place of scripts/checkout.mjs.
import { existsSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

/** The first that can measure the time of one thread. As `engines` of the package has it. */
const OLDEST_NODE = "22.19"

/** The nearest `node_modules` that the package is in. */
function modulesAround() {
  for (
    let directory = dirname(fileURLToPath(import.meta.url));
    directory !== dirname(directory);
    directory = dirname(directory)
  )
    if (basename(directory) === "node_modules") return directory
  return undefined
}

export function findSurroundings() {
  if (isOlder(process.versions.node, OLDEST_NODE))
    refuse(`unseal needs Node ${OLDEST_NODE} or newer, and this is ${process.version}`)
  const modules = modulesAround()
  return {
    node: process.execPath,
    // Halves the start, and lies where only users who may change the modules can write.
    compiled: modules !== undefined && existsSync(modules) ? join(modules, ".cache/compiled") : undefined,
    register() {},
    lacks: () => undefined,
  }
}

function isOlder(version, oldest) {
  const [major, minor] = version.split(".").map(Number)
  const [oldestMajor, oldestMinor] = oldest.split(".").map(Number)
  return major < oldestMajor || (major === oldestMajor && minor < oldestMinor)
}

/** Exit code 2, as for other things that only a person can fix. */
export function refuse(message) {
  console.error(message)
  process.exit(2)
}
