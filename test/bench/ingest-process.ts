import { spawn } from "node:child_process"
import { once } from "node:events"
import { openSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { Bench } from "./bench-context.ts"
import { SECRET } from "./callbacks.ts"
import { PROJECT_ID } from "./unseal.ts"

export interface IngestProcess {
  readonly pid: number
  readonly port: number
  readonly settings: string
  stop(): Promise<void>
}

const MAIN = join(import.meta.dirname, "../../apps/ingest/src/main.ts")
const START_TIMEOUT_MS = 20_000

/**
 * An ingest that adds to `queue`. It logs into a file: the harness reads every line, and with ten thousand of them a second
 * would take as much of the processor as what is measured.
 */
export async function startIngest(
  bench: Bench,
  { queue, auth }: { queue: string; auth: "signed" | "none" },
): Promise<IngestProcess> {
  const redis = await bench.redis()
  const logFile = join(bench.directory, `ingest-${queue}.log`)
  const child = spawn(process.execPath, [MAIN], {
    env: {
      PATH: process.env.PATH,
      REDIS_URL: redis.url,
      UNSEAL_QUEUE: queue,
      UNSEAL_HOST: "127.0.0.1",
      UNSEAL_PORT: "0",
      UNSEAL_ADMIN_PORT: "0",
      UNSEAL_PROJECT_ID: PROJECT_ID,
      ...(auth === "signed"
        ? { UNSEAL_SIGNATURE_SECRET: SECRET }
        : { UNSEAL_CALLBACK_AUTH: "none", UNSEAL_ALLOW_UNAUTHENTICATED: "1" }),
      ...bench.options.env,
    },
    stdio: ["ignore", openSync(logFile, "w"), "inherit"],
  })
  const endWithUs = () => child.kill("SIGKILL")
  process.on("exit", endWithUs)
  const exited = once(child, "exit")
  return {
    pid: child.pid!,
    port: await portIn(logFile),
    settings: `Node ${process.versions.node}, ${Object.keys(bench.options.env).length > 0 ? JSON.stringify(bench.options.env) : "defaults"}, logging into a file`,
    async stop() {
      child.kill("SIGTERM")
      await exited
      process.off("exit", endWithUs)
    },
  }

  async function portIn(path: string): Promise<number> {
    const deadline = Date.now() + START_TIMEOUT_MS
    while (Date.now() < deadline && child.exitCode === null) {
      const line = readFileSync(path, "utf8")
        .split("\n")
        .find((text) => text.includes('"msg":"listening"'))
      if (line) return (JSON.parse(line) as { ports: { http: number } }).ports.http
      await sleep(50)
    }
    throw new Error(`ingest did not listen: ${readFileSync(path, "utf8").trim().slice(-500)}`)
  }
}
