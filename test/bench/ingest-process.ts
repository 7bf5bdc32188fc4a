import { spawn } from "node:child_process"
import { once } from "node:events"
import { openSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { Bench } from "./bench-context.ts"
import { SECRET } from "./callbacks.ts"
import { packageVersion } from "./measure.ts"
import { PROJECT_ID } from "./unseal-contenders.ts"

export interface IngestProcess {
  readonly pid: number
  readonly port: number
  readonly settings: string
  stop(): Promise<void>
}

const MAIN = join(import.meta.dirname, "../../apps/ingest/bin/unseal-ingest.mjs")
const PEER = join(import.meta.dirname, "peer-ingest.ts")
const START_TIMEOUT_MS = 20_000

/**
 * An ingest that adds to `queue`. It logs into a file. The harness reads every line otherwise; at ten thousand lines a second it
 * would use as much of the processor as ingest does.
 */
export async function startIngest(
  bench: Bench,
  { queue, auth }: { queue: string; auth: "signed" | "none" },
): Promise<IngestProcess> {
  const { env } = bench.options
  return start(bench, {
    queue,
    command: [MAIN],
    env: {
      REDIS_URL: (await bench.redis()).url,
      UNSEAL_QUEUE: queue,
      UNSEAL_HOST: "127.0.0.1",
      UNSEAL_PORT: "0",
      UNSEAL_ADMIN_PORT: "0",
      UNSEAL_PROJECT_ID: PROJECT_ID,
      ...(auth === "signed"
        ? { UNSEAL_SIGNATURE_SECRET: SECRET }
        : { UNSEAL_CALLBACK_AUTH: "none", UNSEAL_ALLOW_UNAUTHENTICATED: "1" }),
      ...env,
    },
    portIn: (line) =>
      line.includes('"msg":"listening"')
        ? (JSON.parse(line) as { ports: { http: number } }).ports.http
        : null,
    settings: `${Object.keys(env).length > 0 ? JSON.stringify(env) : "defaults"}, logging into a file`,
  })
}

/** Express with one `queue.add` per callback: see peer-ingest.ts. */
export async function startPeerIngest(bench: Bench, queue: string): Promise<IngestProcess> {
  return start(bench, {
    queue,
    command: [PEER, (await bench.redis()).url, queue],
    env: { NODE_ENV: "production" },
    portIn: (line) => (/^\d+$/.test(line) ? Number(line) : null),
    settings: `Express ${packageVersion("express")}, BullMQ ${packageVersion("bullmq")}`,
  })
}

interface Started {
  readonly queue: string
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly settings: string
  /** The port, if a line of its output names it. */
  portIn(line: string): number | null
}

async function start(
  bench: Bench,
  { queue, command, env, settings, portIn }: Started,
): Promise<IngestProcess> {
  const logFile = join(bench.directory, `ingest-${queue}.log`)
  const child = spawn(process.execPath, command, {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", openSync(logFile, "w"), "inherit"],
  })
  const endWithUs = () => child.kill("SIGKILL")
  process.on("exit", endWithUs)
  const exited = once(child, "exit")
  return {
    pid: child.pid!,
    port: await listening(),
    settings: `Node ${process.versions.node}, ${settings}`,
    async stop() {
      child.kill("SIGTERM")
      await exited
      process.off("exit", endWithUs)
    },
  }

  async function listening(): Promise<number> {
    const deadline = Date.now() + START_TIMEOUT_MS
    while (Date.now() < deadline && child.exitCode === null) {
      for (const line of readFileSync(logFile, "utf8").split("\n")) {
        const port = portIn(line)
        if (port !== null) return port
      }
      await sleep(50)
    }
    throw new Error(`ingest did not listen: ${readFileSync(logFile, "utf8").trim().slice(-500)}`)
  }
}
