// Runs a command with the versions that the lockfile pins. Installs them first if they are missing or out of date. Plain
// JavaScript for any Node from 20 on, because this script brings the Node that everything else needs.
import { spawn } from "node:child_process"
import { constants } from "node:os"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"
import { ensureInstalled } from "./installation.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))
const modules = join(root, "node_modules")

/** The running child, which gets all signals. */
let child
/** A signal that came before the child was running. */
let pending
/** A terminal sends Ctrl-C to the whole process group, and npm sends it once more. */
const SAME_SIGNAL_MS = 1_000
const sentAt = new Map()

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => passOn(signal))

function passOn(signal) {
  const now = Date.now()
  if (now - (sentAt.get(signal) ?? 0) < SAME_SIGNAL_MS) return
  sentAt.set(signal, now)
  pending ??= signal
  child?.kill(signal)
}

// A killed npm passes nothing on, and its child must not outlive it.
if (process.env.npm_lifecycle_event !== undefined) {
  const parent = process.ppid
  setInterval(() => {
    if (process.ppid !== parent) passOn("SIGTERM")
  }, 1_000).unref()
}

const [command, ...args] = process.argv.slice(2)
const name = process.env.npm_lifecycle_event ?? [command, ...args].join(" ")
let runsToo
try {
  runsToo = await ensureInstalled({ root, name, install, isStopped: () => pending !== undefined })
} catch (error) {
  console.error(error.message)
  process.exit(1)
}
if (pending !== undefined) end(null, pending)
if (command !== undefined) {
  const { code, signal } = await run(command, args, runsToo)
  end(code, signal)
}

/** Runs `npm ci`, and calls `onStart` with its process id. */
async function install(onStart) {
  console.error("installing what package-lock.json pins (npm ci) ...")
  if (Number(process.versions.node.split(".")[0]) < 26)
    console.error(
      "npm's EBADENGINE warnings are harmless: the Node that these packages need is installed with them",
    )
  const { code, signal } = await run("npm", ["ci", "--no-fund", "--no-audit", "--loglevel=error"], onStart)
  if (code !== 0) end(code, signal)
}

function run(command, args, onStart) {
  const PATH = `${join(modules, ".bin")}${delimiter}${process.env.PATH}`
  // Keeps what Node has stripped of types and compiled. Without it a worker starts in 0.34 s instead of 0.2, and the stripper
  // keeps 26 MiB of memory. It lies beside the modules, where only users who may change those can write.
  const NODE_COMPILE_CACHE = process.env.NODE_COMPILE_CACHE ?? join(modules, ".cache/compiled")
  // A dead mount blocks threads. With Node's default of four, a few directories would use up those for host names and keys.
  const UV_THREADPOOL_SIZE = process.env.UV_THREADPOOL_SIZE ?? "16"
  const env = {
    ...{ ...process.env, PATH, NODE_COMPILE_CACHE, UV_THREADPOOL_SIZE },
    TURBO_TELEMETRY_DISABLED: "1",
  }
  return new Promise((resolve) => {
    child = spawn(command, args, { cwd: root, stdio: "inherit", env })
    child.once("error", (error) => {
      console.error(`${command}: ${error.message}`)
      resolve({ code: 127, signal: null })
    })
    child.once("spawn", () => {
      onStart(child.pid)
      if (pending !== undefined) child.kill(pending)
    })
    child.once("exit", (code, signal) => {
      child = undefined
      resolve({ code, signal })
    })
  })
}

/** Exits as the command did: with its code, or with 128 plus its signal's number. */
function end(code, signal) {
  process.exit(code ?? 128 + (constants.signals[signal] ?? 1))
}
