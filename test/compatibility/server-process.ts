/** Processes of third-party servers, in the foreground, with a directory of their own. */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"

export const run = promisify(execFile)

/** The processes of one server, which end with it, or with us. */
export interface ServerGroup {
  readonly directory: string
  /** Starts a program, and resolves once somebody listens on each of `ports`. Rejects with what it said if it ends before. */
  start(program: string, args: readonly string[], ports: readonly number[]): Promise<void>
  /** Ends the processes, the last one first, and removes the directory. */
  close(): Promise<void>
}

export function createServerGroup(name: string): ServerGroup {
  const directory = mkdtempSync(join(tmpdir(), `unseal-${name}-`))
  const children: ChildProcess[] = []
  const endWithUs = () => {
    for (const child of children) child.kill("SIGKILL")
  }
  process.on("exit", endWithUs)
  return {
    directory,
    async start(program, args, ports) {
      const child = spawn(program, args, { cwd: directory, stdio: ["ignore", "pipe", "pipe"] })
      children.push(child)
      await untilItListens(child, `${program} ${args.join(" ")}`, ports)
    },
    async close() {
      for (const child of children.splice(0).reverse()) await end(child)
      process.off("exit", endWithUs)
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

async function untilItListens(child: ChildProcess, title: string, ports: readonly number[]): Promise<void> {
  let output = ""
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => {
      output = (output + chunk).slice(-4_000)
    })
  let failure: Error | undefined
  child.once("error", (error) => {
    failure = error
  })
  const deadline = Date.now() + 90_000
  while (Date.now() < deadline && !failure && isRunning(child)) {
    if ((await Promise.all(ports.map(listens))).every(Boolean)) return
    await sleep(50)
  }
  throw new Error(`${title} did not start on ${ports.join(", ")}: ${failure?.message ?? output.trim()}`)
}

const isRunning = (child: ChildProcess) => child.exitCode === null && child.signalCode === null

async function end(child: ChildProcess): Promise<void> {
  if (!isRunning(child) || child.pid === undefined) return
  const exited = once(child, "exit")
  child.kill("SIGTERM")
  const force = setTimeout(() => child.kill("SIGKILL"), 5_000)
  await exited
  clearTimeout(force)
}

const listens = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1")
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false))
    socket.once("connect", () => socket.destroy())
  })
