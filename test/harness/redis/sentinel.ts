/** A master with replicas, and sentinels that watch them: what a failover needs. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { Redis } from "ioredis"
import { freePort } from "../network/free-port.ts"
import { neverOrphan } from "../orphans.ts"
import { ensureProgram } from "../programs.ts"
import { killBehind, untilReplicated } from "./behind.ts"
import { type RedisServer, startRedis } from "./redis.ts"
import { type TlsFiles, tlsSettings } from "./tls.ts"

export interface SentinelOptions {
  readonly replicas?: number
  readonly sentinels?: number
  /** The servers' password. */
  readonly password?: string
  /** The sentinels' password. */
  readonly sentinelPassword?: string
  /** Makes clients use TLS for the servers and the sentinels. */
  readonly tls?: TlsFiles
}

/** A set watched by sentinels. */
export interface SentinelSet {
  /** `redis-sentinel://…?sentinelMasterId=mymaster`, or its `rediss-` form. */
  readonly url: string
  readonly servers: readonly RedisServer[]
  /** The server that the sentinels currently call master. */
  master(): Promise<RedisServer>
  /**
   * Makes another server the master, and resolves when it is one. `kill` ends the master with SIGKILL and restarts it afterwards.
   * `behind` does the same, and what the master acknowledged in its last seconds is lost. `command` is `SENTINEL FAILOVER`.
   */
  failover(how?: "kill" | "behind" | "command"): Promise<void>
  /** Ends all sentinels with SIGKILL: clients can no longer find the master. */
  stopSentinels(): Promise<void>
  startSentinels(): Promise<void>
  close(): Promise<void>
}

const NAME = "mymaster"
/** How long a failover takes after the master counts as down. */
const FAILOVER_MS = 30_000
/**
 * How long a silent master may take before it counts as down, in milliseconds: short while one is killed, and long otherwise, so
 * that a slow machine causes no unwanted failover.
 */
const DOWN_AFTER = { killed: 1_000, otherwise: 120_000 }

interface Sentinel {
  readonly port: number
  readonly file: string
  readonly directory: string
  child?: ChildProcess
}

/** Starts a set on loopback. Default: one master, two replicas and three sentinels. */
export async function startSentinel(options: SentinelOptions = {}): Promise<SentinelSet> {
  const { replicas = 2, sentinels: count = 3, password, sentinelPassword, tls } = options
  const program = await ensureProgram(["redis-server", "valkey-server"], {
    packages: { apt: "redis-server", dnf: "redis", apk: "redis", brew: "redis" },
  })
  const directory = mkdtempSync(join(tmpdir(), "unseal-sentinel-"))
  const servers: RedisServer[] = []
  const sentinels: Sentinel[] = []
  /** By the clients' port, which is the TLS port if there is TLS. */
  const byPort = new Map<number, RedisServer>()

  async function startServer(masterPort?: number): Promise<number> {
    const clientPort = tls ? await freePort() : undefined
    const server = await startRedis({
      settings: [
        ...(password ? ["--requirepass", password, "--masterauth", password] : []),
        ...(masterPort ? ["--replicaof", "127.0.0.1", String(masterPort)] : []),
        ...(tls ? [...tlsSettings(tls, clientPort!), "--tls-replication", "yes"] : []),
        ...["--repl-diskless-sync-delay", "0", "--replica-announce-ip", "127.0.0.1"],
        ...(clientPort ? ["--replica-announce-port", String(clientPort)] : []),
      ],
    })
    servers.push(server)
    byPort.set(clientPort ?? server.port, server)
    return clientPort ?? server.port
  }

  async function startOne(sentinel: Sentinel): Promise<void> {
    const child = spawn(program, [sentinel.file, "--sentinel"], { stdio: ["ignore", "pipe", "pipe"] })
    neverOrphan(child)
    sentinel.child = child
    let output = ""
    child.stdout.on("data", (chunk) => {
      output = (output + chunk).slice(-4_000)
    })
    for (let tries = 0; !output.includes("Sentinel ID is"); tries++) {
      if (tries > 500 || child.exitCode !== null) throw new Error(`a sentinel did not start: ${output}`)
      await sleep(20)
    }
  }

  /** Sends a command to one sentinel. */
  async function ask<T>(sentinel: Sentinel, ...command: [string, ...string[]]): Promise<T> {
    const client = new Redis(sentinel.port, "127.0.0.1", {
      ...(sentinelPassword && { password: sentinelPassword }),
      ...{ retryStrategy: () => null, enableReadyCheck: false, maxRetriesPerRequest: 0 },
    })
    client.on("error", () => {})
    try {
      return (await client.call(...command)) as T
    } finally {
      client.disconnect()
    }
  }

  const current = async (sentinel: Sentinel): Promise<RedisServer | undefined> => {
    const [, port] = await ask<string[]>(sentinel, "SENTINEL", "get-master-addr-by-name", NAME)
    return byPort.get(Number(port))
  }

  async function until(what: string, isSo: () => Promise<boolean>, withinMs = FAILOVER_MS): Promise<void> {
    for (const deadline = Date.now() + withinMs; !(await isSo().catch(() => false)); await sleep(50))
      if (Date.now() > deadline) throw new Error(`${what}: not within ${withinMs} ms`)
  }

  /** Whether all sentinels know one another and the replicas, which have all the master's data. */
  const settled = () =>
    until("the sentinels did not find one another", async () => {
      const infos = await Promise.all(
        sentinels.map((sentinel) => ask<string[]>(sentinel, "SENTINEL", "master", NAME)),
      )
      return infos.every((info) => {
        const field = (name: string) => info[info.indexOf(name) + 1]
        return (
          Number(field("num-other-sentinels")) === count - 1 &&
          Number(field("num-slaves")) === replicas &&
          field("flags") === "master"
        )
      })
    })

  const downAfter = (ms: number) =>
    Promise.all(
      sentinels.map((sentinel) =>
        ask(sentinel, "SENTINEL", "SET", NAME, "down-after-milliseconds", String(ms)),
      ),
    )

  async function close(): Promise<void> {
    await stopSentinels()
    for (const server of servers) await server.close()
    rmSync(directory, { recursive: true, force: true })
  }

  async function stopSentinels(): Promise<void> {
    for (const sentinel of sentinels) {
      const { child } = sentinel
      if (child && child.exitCode === null && child.signalCode === null) {
        child.kill("SIGKILL")
        await once(child, "exit")
      }
    }
  }

  try {
    const masterPort = await startServer()
    for (let index = 0; index < replicas; index++) await startServer(masterPort)
    const schemePorts: number[] = []
    for (let index = 0; index < count; index++) {
      const port = await freePort()
      const tlsPort = tls ? await freePort() : port
      schemePorts.push(tlsPort)
      const file = join(directory, `sentinel-${index}.conf`)
      const own = mkdtempSync(join(directory, "data-"))
      writeFileSync(
        file,
        [
          `port ${port}`,
          "bind 127.0.0.1",
          `dir ${own}`,
          "sentinel resolve-hostnames no",
          `sentinel monitor ${NAME} 127.0.0.1 ${masterPort} ${Math.floor(count / 2) + 1}`,
          `sentinel down-after-milliseconds ${NAME} ${DOWN_AFTER.otherwise}`,
          `sentinel failover-timeout ${NAME} 5000`,
          ...(password ? [`sentinel auth-pass ${NAME} ${password}`] : []),
          ...(sentinelPassword
            ? [`requirepass ${sentinelPassword}`, `sentinel sentinel-pass ${sentinelPassword}`]
            : []),
          ...(tls
            ? [
                `tls-port ${tlsPort}`,
                `tls-ca-cert-file ${tls.ca}`,
                `tls-cert-file ${tls.serverCert}`,
                `tls-key-file ${tls.serverKey}`,
                "tls-replication yes",
              ]
            : []),
          "",
        ].join("\n"),
      )
      sentinels.push({ port, file, directory: own })
    }
    for (const sentinel of sentinels) await startOne(sentinel)
    await settled()

    const hosts = schemePorts.map((port) => `127.0.0.1:${port}`).join(",")
    const query = new URLSearchParams({
      sentinelMasterId: NAME,
      ...(sentinelPassword && { sentinelPassword }),
    })
    const credentials = password ? `:${password}@` : ""
    const master = async (): Promise<RedisServer> => {
      const server = await current(sentinels[0]!)
      if (server === undefined) throw new Error("the sentinels know no master")
      return server
    }
    return {
      url: `redis${tls ? "s" : ""}-sentinel://${credentials}${hosts}/0?${query}`,
      servers,
      master,
      async failover(how = "kill") {
        const before = await master()
        const others = servers.filter((server) => server !== before)
        if (replicas > 0) await untilReplicated(before, NAME, password)
        if (how !== "command") await downAfter(DOWN_AFTER.killed)
        if (how === "kill") await before.stop("SIGKILL")
        else if (how === "behind") await killBehind(before, others, password)
        else await ask(sentinels[0]!, "SENTINEL", "FAILOVER", NAME)
        await until("no other server became the master", async () => {
          const masters = await Promise.all(sentinels.map(current))
          return (
            masters[0] !== undefined && masters[0] !== before && masters.every((one) => one === masters[0])
          )
        })
        if (how !== "command") {
          await downAfter(DOWN_AFTER.otherwise)
          await before.restart()
        }
        await settled()
      },
      stopSentinels,
      async startSentinels() {
        for (const sentinel of sentinels) await startOne(sentinel)
        await settled()
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
