// What the entries (apps/entry.mjs) find in a checkout: the Node that runs the sources, and the packages. Plain JavaScript for
// any Node from 20 on. An installed package has scripts/pack/installed.mjs in place of this file.
import { existsSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { registerRunning } from "./installation.mjs"

const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** The first that strips types in the way the sources need. */
const OLDEST_NODE = 26

/** The nearest `node_modules` that contains the pinned Node. */
function pinnedModules() {
  for (let directory = root; ; directory = dirname(directory)) {
    const modules = join(directory, "node_modules")
    if (existsSync(join(modules, "node/bin/node"))) return modules
    if (directory === dirname(directory)) return undefined
  }
}

/**
 * The Node that runs the sources, and the directory for compiled code. `register` says that this process (or `pid`) runs from the
 * tree, so that nobody installs packages under it. `lacks` explains an error of loading a main, if packages are missing.
 */
export function findSurroundings(name) {
  const modules = pinnedModules()
  const isOld = Number(process.versions.node.split(".")[0]) < OLDEST_NODE
  if (isOld && modules === undefined)
    refuse(
      `unseal needs Node ${OLDEST_NODE} and this is ${process.version}: run "npm ci" in ${root}, which brings it`,
    )
  // What bootstrap.mjs starts, it has registered.
  const isRegistered = process.env.npm_lifecycle_event?.startsWith("start:") === true
  return {
    node: isOld ? join(modules, "node/bin/node") : process.execPath,
    // Halves the start, and lies where only users who may change the modules can write.
    compiled: modules && join(modules, ".cache/compiled"),
    register(pid) {
      const runsToo = isRegistered ? () => {} : registerRunning(root, name)
      if (pid !== undefined) runsToo(pid)
    },
    lacks: (error) =>
      modules === undefined && error.code === "ERR_MODULE_NOT_FOUND"
        ? `unseal lacks its packages: run "npm ci" in ${root}, which brings them`
        : undefined,
  }
}

/** Exit code 2, as for other things that only a person can fix. */
export function refuse(message) {
  console.error(message)
  process.exit(2)
}
