#!/usr/bin/env node
// Plain JavaScript, so that any Node can run it: the sources need the Node that the project pins, and find it here.
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import * as module from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const here = dirname(fileURLToPath(import.meta.url))
const main = join(here, "../src/main.ts")

function pinnedNode() {
  for (let directory = here; directory !== dirname(directory); directory = dirname(directory)) {
    const candidate = join(directory, "node_modules/node/bin/node")
    if (existsSync(candidate)) return candidate
  }
  return undefined
}

if (Number(process.versions.node.split(".")[0]) >= 26) {
  // Keeps the stripped and compiled sources: a third of the start-up, where the directory for it can be written.
  module.enableCompileCache()
  await import(main)
} else {
  const node = pinnedNode()
  if (node === undefined) {
    console.error(
      `unseal needs Node 26 and this is ${process.version}: run "npm ci" in the repository, which brings it`,
    )
    process.exit(2)
  }
  const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: "inherit" })
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal))
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}
