// What every entry in apps/*/bin does first: it sets what Node takes only at its start, and then loads one main. Plain JavaScript,
// so that any Node can run it.
import { spawn } from "node:child_process"
import * as module from "node:module"
import { findSurroundings, refuse } from "../scripts/checkout.mjs"

// Threads for files, before anything has asked for one. A dead mount blocks threads, and Node's four would soon be used up.
process.env.UV_THREADPOOL_SIZE ??= "16"

const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"]

/** The processes that run until they are stopped. `unseal NAME` runs the same main as the process's own entry. Their `config` is what the doctor asks. */
export const PROCESSES = {
  ingest: {
    name: "unseal ingest",
    main: () => import("./ingest/src/main.ts"),
    config: () => import("./ingest/src/config.ts"),
    help: () => import("./ingest/src/help.ts"),
  },
  worker: {
    name: "unseal worker",
    main: () => import("./worker/src/main.ts"),
    config: () => import("./worker/src/config.ts"),
    help: () => import("./worker/src/help.ts"),
    // Space for young objects, which V8 takes only when it starts: packages/service/src/v8-flags.ts says what it is good for.
    flags: ["--min-semi-space-size=4", "--max-semi-space-size=4"],
  },
  console: {
    name: "unseal console",
    main: () => import("./console/src/main.ts"),
    help: () => import("./console/src/help.ts"),
  },
  simulator: {
    name: "unseal simulator",
    main: () => import("./simulator/src/main.ts"),
    help: () => import("./simulator/src/help.ts"),
  },
}

/** The command line. Its subcommands that are processes are loaded without it. */
export function enterCommandLine() {
  const [first, ...rest] = process.argv.slice(2)
  const named = (name) => (Object.hasOwn(PROCESSES, name ?? "") ? PROCESSES[name] : undefined)
  if (first === "help" && rest.length === 1 && named(rest[0])) return enter(named(rest[0]), ["--help"])
  // The command that makes a user needs a terminal, and no process.
  if (named(first) && !(first === "console" && rest[0] === "user")) return enter(named(first), rest)
  return enter({ name: "unseal", main: first === "doctor" ? loadDoctor : () => import("./cli/src/main.ts") })
}

/** For the doctor, each process's own code checks its settings. An app does not import another; this file knows them all. */
async function loadDoctor() {
  const { setProcesses } = await import("./cli/src/doctor/processes.ts")
  setProcesses({ ingest: PROCESSES.ingest.config, worker: PROCESSES.worker.config })
  return import("./cli/src/main.ts")
}

/**
 * Loads a process's main: in this process, or in the Node that can run it. A process with a `help` takes no arguments but
 * `--help`. V8's `flags` are for the main.
 */
export async function enter({ name, main, help, flags = [] }, args = process.argv.slice(2)) {
  const { node, compiled, register, lacks } = findSurroundings(name)
  const isHelp = args.length === 1 && ["--help", "-h"].includes(args[0])
  if (help !== undefined && args.length > 0 && !isHelp)
    refuse(`${name} takes no arguments: "${name} --help" lists its settings, which are environment variables`)
  const load = help !== undefined && isHelp ? help : main
  if (runsInstead(node, load === main ? flags.filter(isUnset) : [], register)) return
  if (compiled !== undefined) module.enableCompileCache?.(compiled)
  register()
  answerSignalsAsInit()
  await load().catch((error) => {
    const reason = lacks(error)
    if (reason === undefined) throw error
    refuse(reason)
  })
}

/** Whether nobody has given V8 the flag yet, with whatever value. */
function isUnset(flag) {
  const [name] = flag.split("=")
  return ![...process.execArgv, process.env.NODE_OPTIONS ?? ""].some((given) => given.includes(name))
}

/**
 * Runs the same command with `node` and `flags`, if it needs another Node or more flags. The new program takes this process over
 * where Node can do that, so that signals reach it, even as the first process of a container. Otherwise a child runs it, or it
 * runs without its flags.
 */
function runsInstead(node, flags, register) {
  const isSameNode = node === process.execPath
  if (isSameNode && flags.length === 0) return false
  const args = [...process.execArgv, ...flags, ...process.argv.slice(1)]
  // A channel to the parent would be closed, and the new program would fail to open it.
  if (process.execve !== undefined && !process.channel) process.execve(node, [node, ...args])
  if (isSameNode) return false
  const child = spawn(node, args, { stdio: "inherit" })
  // The child has already received a terminal's Ctrl-C. Passed on at once, it would kill a child that is just ending in order.
  for (const signal of SIGNALS) process.on(signal, () => setTimeout(() => child.kill(signal), 300))
  child.once("spawn", () => register(child.pid))
  child.on("error", (error) =>
    refuse(`unseal can't run the Node that it needs: ${error.message}. Run "npm ci" again on this machine`),
  )
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
  return true
}

/**
 * The kernel gives the first process of a container only the signals that it listens for. These listeners end the process. Its
 * main removes them when it listens itself.
 */
function answerSignalsAsInit() {
  if (process.pid !== 1) return
  for (const signal of SIGNALS) process.once(signal, () => process.exit(0))
}
