import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"
import { freePort } from "../network/free-port.ts"
import { neverOrphan } from "../orphans.ts"
import { ensureProgram, findProgram } from "../programs.ts"

export interface RedisOptions {
  /** `always` is Unseal's own setting: a crash of Redis loses nothing that was acknowledged. */
  readonly appendfsync?: "always" | "everysec" | "no"
  /** As in redis.conf, e.g. `20mb`. */
  readonly maxmemory?: string
  readonly port?: number
  /** `close` keeps this directory, unlike the temporary one that is made without it. */
  readonly directory?: string
  /** More server arguments, as in `["--requirepass", "secret"]`. */
  readonly settings?: readonly string[]
}

/** A Redis of our own. */
export interface RedisServer {
  readonly url: string
  readonly port: number
  /** The running server's process id. `restart` changes it. */
  readonly pid: number
  readonly directory: string
  /** SIGTERM saves and ends; SIGKILL is a crash. Resolves when the process is gone. */
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void>
  /** SIGSTOP, and SIGCONT: connections stay open, nothing is answered. */
  freeze(): void
  thaw(): void
  /** Ends the server if it runs, and starts it on the same port and directory. */
  restart(): Promise<void>
  /** Ends the server for good and removes its directory. */
  close(): Promise<void>
}

/** How a server process is started and signalled. Docker's client is not the server, so its signals take another way. */
interface Runner {
  start(port: number, directory: string, settings: string[]): ChildProcess
  pid(child: ChildProcess): Promise<number>
  kill(child: ChildProcess, signal: "SIGTERM" | "SIGKILL"): void
}

/**
 * Starts a Redis on a private loopback port with its own directory, and waits until it answers. The program comes from PATH, is
 * installed, or runs in Docker. A Redis that already runs is never touched.
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const runner = await findRunner()
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), "unseal-redis-"))
  mkdirSync(directory, { recursive: true })
  const settings = [
    ...["--save", "", "--appendonly", "yes", "--appendfsync", options.appendfsync ?? "always"],
    ...["--maxmemory-policy", "noeviction", "--maxmemory", options.maxmemory ?? "0", "--daemonize", "no"],
    ...(options.settings ?? []),
  ]

  let running: { child: ChildProcess; pid: number } | undefined
  const endWithUs = () => running && runner.kill(running.child, "SIGKILL")
  process.on("exit", endWithUs)

  const start = async (port: number) => {
    const child = runner.start(port, directory, settings)
    running = { child, pid: child.pid ?? 0 }
    try {
      await untilItAnswers(child, port)
    } catch (error) {
      await stop("SIGKILL")
      throw error
    }
    running.pid = await runner.pid(child)
  }
  const stop = async (signal: "SIGTERM" | "SIGKILL" = "SIGTERM") => {
    if (!running) return
    const { child } = running
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      runner.kill(child, signal)
      await once(child, "exit")
    }
    running = undefined
  }

  let port = options.port ?? (await freePort())
  for (let tries = 1; ; tries++)
    try {
      await start(port)
      break
    } catch (error) {
      // Another process may have taken the port after we chose it.
      if (options.port !== undefined || tries === 3) throw error
      port = await freePort()
    }

  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    directory,
    get pid() {
      if (!running) throw new Error("Redis is stopped")
      return running.pid
    },
    stop,
    freeze: () => void process.kill(running!.pid, "SIGSTOP"),
    thaw: () => void process.kill(running!.pid, "SIGCONT"),
    async restart() {
      await stop()
      await start(port)
    },
    async close() {
      await stop("SIGKILL")
      process.off("exit", endWithUs)
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true })
    },
  }
}

async function findRunner(): Promise<Runner> {
  try {
    return processRunner(
      await ensureProgram(["redis-server", "valkey-server"], {
        packages: { apt: "redis-server", dnf: "redis", apk: "redis", brew: "redis" },
      }),
    )
  } catch (error) {
    const docker = findProgram("docker")
    const daemon =
      docker && (await promisify(execFile)(docker, ["info"], { timeout: 10_000 }).catch(() => null))
    if (docker && daemon) return dockerRunner(docker)
    throw new Error(
      `a Redis is needed. Any one of four ways: set REDIS_URL to a running one; put redis-server or valkey-server on PATH; run as root where apt-get, dnf or apk works, or have brew, so that it can be installed; start Docker.\n${(error as Error).message}`,
    )
  }
}

function processRunner(program: string): Runner {
  return {
    start(port, directory, settings) {
      const given = [...settings, "--dir", directory, "--bind", "127.0.0.1", "--port", String(port)]
      const child = spawn(program, given, { stdio: ["ignore", "pipe", "pipe"] })
      neverOrphan(child)
      return child
    },
    pid: async (child) => child.pid ?? 0,
    kill: (child, signal) => child.kill(signal),
  }
}

function dockerRunner(docker: string): Runner {
  const names = new WeakMap<ChildProcess, string>()
  return {
    start(port, directory, settings) {
      const name = `unseal-redis-${port}-${Date.now()}`
      const user = process.getuid ? ["--user", `${process.getuid()}:${process.getgid?.() ?? 0}`] : []
      const container = [...user, "--volume", `${directory}:/data`, "--publish", `127.0.0.1:${port}:6379`]
      const server = ["redis:7-alpine", "redis-server", ...settings, "--protected-mode", "no"]
      const child = spawn(docker, ["run", "--rm", "--name", name, ...container, ...server], {
        stdio: ["ignore", "pipe", "pipe"],
      })
      names.set(child, name)
      return child
    },
    async pid(child) {
      const { stdout } = await promisify(execFile)(docker, [
        ...["inspect", "--format", "{{.State.Pid}}", names.get(child) ?? ""],
      ])
      return Number(stdout)
    },
    kill: (child, signal) =>
      void spawn(docker, ["kill", "--signal", signal, names.get(child) ?? ""], { stdio: "ignore" }),
  }
}

async function untilItAnswers(child: ChildProcess, port: number): Promise<void> {
  let output = ""
  const collect = (chunk: Buffer) => {
    output = (output + chunk).slice(-4_000)
  }
  child.stdout?.on("data", collect)
  child.stderr?.on("data", collect)
  let failure: Error | undefined
  child.once("error", (error) => {
    failure = error
  })
  // Docker may have to fetch its image first.
  const deadline = Date.now() + 120_000
  while (Date.now() < deadline && !failure && child.exitCode === null && child.signalCode === null) {
    // Checks its own output first, because another server on this port would answer a PING as well.
    if (output.includes("Ready to accept connections") && (await ping(port))) return
    await sleep(20)
  }
  throw new Error(`Redis did not start on port ${port}: ${failure?.message ?? output.trim()}`)
}

/** Sends one PING in the plain protocol, so that the harness needs no client library. */
function ping(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(1_000, () => end(false))
    socket.on("error", () => end(false))
    socket.on("close", () => end(false))
    socket.on("connect", () => socket.write("PING\r\n"))
    socket.on("data", (data) => end(/^(\+PONG|-NOAUTH)/.test(data.toString())))
  })
}
