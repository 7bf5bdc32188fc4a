#!/usr/bin/env node
// Plain JavaScript, so that any Node can run it. The sources need the Node that the project pins, and this file finds it.
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import * as module from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

// As the npm scripts have it: threads for files, before anything has asked for one.
process.env.UV_THREADPOOL_SIZE ??= "16"

const here = dirname(fileURLToPath(import.meta.url))
const main = join(here, "../src/main.ts")

/** The nearest `node_modules` above that contains the pinned Node. */
function pinnedModules() {
  for (let directory = here; directory !== dirname(directory); directory = dirname(directory)) {
    const modules = join(directory, "node_modules")
    if (existsSync(join(modules, "node/bin/node"))) return modules
  }
  return undefined
}

/** Exit code 2, as for other things that only a person can fix. */
function refuse(message) {
  console.error(message)
  process.exit(2)
}

const modules = pinnedModules()
// In a checkout, nobody may install packages under a running command.
const root = join(here, "../../..")
const installation = join(root, "scripts/installation.mjs")
const runsToo = existsSync(installation)
  ? (await import(installation)).registerRunning(root, "unseal")
  : () => {}
// Keeps the stripped and compiled sources, which halves the start-up, where only users who may change the modules can write.
const compiled = modules && join(modules, ".cache/compiled")
if (Number(process.versions.node.split(".")[0]) >= 26) {
  if (compiled !== undefined) module.enableCompileCache(compiled)
  await import(main).catch((error) => {
    if (modules !== undefined || error.code !== "ERR_MODULE_NOT_FOUND") throw error
    refuse(`unseal lacks its packages: run "npm ci" in ${root}, which brings them`)
  })
} else {
  if (modules === undefined)
    refuse(`unseal needs Node 26 and this is ${process.version}: run "npm ci" in ${root}, which brings it`)
  const child = spawn(join(modules, "node/bin/node"), [main, ...process.argv.slice(2)], {
    stdio: "inherit",
    env: { NODE_COMPILE_CACHE: compiled, ...process.env },
  })
  // The child has already received a terminal's Ctrl-C. Passed on at once, it would kill a child that is just ending in order.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
    process.on(signal, () => setTimeout(() => child.kill(signal), 300))
  child.once("spawn", () => runsToo(child.pid))
  child.on("error", (error) =>
    refuse(`unseal can't run the Node that it needs: ${error.message}. Run "npm ci" again on this machine`),
  )
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}
