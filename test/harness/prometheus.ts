/** A real Prometheus that scrapes the processes of a test. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { freePort } from "./network/free-port.ts"
import { neverOrphan } from "./orphans.ts"
import { ensureProgram } from "./programs.ts"

const READY_MS = 60_000
const ANSWER_MS = 30_000

export interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly points: readonly (readonly [time: number, value: number])[]
}

export interface Prometheus {
  readonly url: string
  /** Scrapes these admin ports from now on, with the labels that a PodMonitor would add. */
  scrape(ports: readonly number[]): Promise<void>
  /** The value of an instant query with one result; `null` if it has none, or is not a number. */
  query(expression: string): Promise<number | null>
  /** The alerts that fire now. */
  firing(): Promise<readonly FiringAlert[]>
  /** Every series of a range query. Times are in seconds since 1970, and values that are no number are left out. */
  range(expression: string, time: { from: number; until: number; step: number }): Promise<readonly Series[]>
  close(): Promise<void>
}

export interface FiringAlert {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly summary: string
}

export interface PrometheusOptions {
  /** The content of a rule file. Rules are evaluated once between two scrapes. */
  readonly rules?: unknown
  /** How long a series without a new sample keeps its last value. Default five minutes. */
  readonly lookbackMs?: number
  /** The port of an Alertmanager on this machine. */
  readonly alertmanagerPort?: number
  /** Whether it keeps exemplars. */
  readonly exemplars?: boolean
}

/** Starts Prometheus on a free port, in a directory of its own. `intervalMs` lies between two scrapes. */
export async function startPrometheus(
  intervalMs: number,
  { rules, lookbackMs, alertmanagerPort, exemplars }: PrometheusOptions = {},
): Promise<Prometheus> {
  const program = await ensureProgram("prometheus", {
    packages: { apt: "prometheus", dnf: "golang-github-prometheus", apk: "prometheus", brew: "prometheus" },
  })
  const directory = await mkdtemp(join(tmpdir(), "unseal-prometheus-"))
  const targets = join(directory, "targets.json")
  await writeFile(targets, "[]")
  const configuration = {
    global: {
      ...{ scrape_interval: `${intervalMs}ms`, scrape_timeout: `${intervalMs}ms` },
      evaluation_interval: `${intervalMs}ms`,
    },
    ...(rules !== undefined && { rule_files: [join(directory, "rules.json")] }),
    ...(alertmanagerPort !== undefined && {
      alerting: {
        alertmanagers: [{ static_configs: [{ targets: [`127.0.0.1:${alertmanagerPort}`] }] }],
      },
    }),
    scrape_configs: [{ job_name: "unseal", file_sd_configs: [{ files: [targets] }] }],
  }
  await writeFile(join(directory, "prometheus.yml"), JSON.stringify(configuration))
  if (rules !== undefined) await writeFile(join(directory, "rules.json"), JSON.stringify(rules))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const child = spawn(
    program,
    [
      `--config.file=${join(directory, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      ...(exemplars ? ["--enable-feature=exemplar-storage"] : []),
      ...(lookbackMs === undefined ? [] : [`--query.lookback-delta=${lookbackMs}ms`]),
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  )
  neverOrphan(child)
  let log = ""
  child.stderr.setEncoding("utf8").on("data", (text) => {
    log = (log + text).slice(-20_000)
  })
  const close = async () => {
    await ended(child)
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const deadline = Date.now() + READY_MS
    while (
      !(await fetch(`${url}/-/ready`).then(
        (answer) => answer.ok,
        () => false,
      ))
    ) {
      if (child.exitCode !== null || Date.now() > deadline)
        throw new Error(`prometheus did not start:\n${log}`)
      await sleep(50)
    }
  } catch (error) {
    await close()
    throw error
  }
  async function ask<Data>(path: string, parameters: Record<string, string>): Promise<Data> {
    const answer = await fetch(`${url}/api/v1/${path}`, {
      method: "POST",
      body: new URLSearchParams(parameters),
      signal: AbortSignal.timeout(ANSWER_MS),
    })
    const { status, data, error } = (await answer.json()) as { status: string; error?: string; data?: Data }
    if (status !== "success") throw new Error(`prometheus refuses ${parameters.query}: ${error}`)
    return data!
  }
  let versions = 0
  let writing: Promise<void> = Promise.resolve()
  return {
    url,
    async scrape(ports) {
      const group = { targets: ports.map((each) => `127.0.0.1:${each}`), labels: { namespace: "unseal" } }
      // Prometheus watches the directory, and must not read half a file.
      const written = `${targets}.${++versions}`
      writing = writing.then(async () => {
        await writeFile(written, JSON.stringify([group]))
        await rename(written, targets)
      })
      await writing
    },
    async query(expression) {
      const { result } = await ask<{ result: { value: [number, string] }[] }>("query", { query: expression })
      if (result.length > 1) throw new Error(`${expression} has ${result.length} results`)
      const value = Number(result[0]?.value[1] ?? Number.NaN)
      return Number.isFinite(value) ? value : null
    },
    async firing() {
      const answer = await fetch(`${url}/api/v1/alerts`)
      const { data } = (await answer.json()) as {
        data: {
          alerts: { state: string; labels: Record<string, string>; annotations: Record<string, string> }[]
        }
      }
      return data.alerts
        .filter(({ state }) => state === "firing")
        .map(({ labels, annotations }) => ({
          ...{ name: labels.alertname ?? "", labels, summary: annotations.summary ?? "" },
        }))
    },
    async range(query, { from, until, step }) {
      const times = { start: String(from), end: String(until), step: String(step) }
      const { result } = await ask<{
        result: { metric: Record<string, string>; values: [number, string][] }[]
      }>("query_range", { query, ...times })
      return result.map(({ metric, values }) => ({
        labels: metric,
        points: values
          .map(([time, value]) => [time, Number(value)] as const)
          .filter(([, value]) => Number.isFinite(value)),
      }))
    },
    close,
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill("SIGTERM")
  const force = setTimeout(() => child.kill("SIGKILL"), 15_000)
  await once(child, "exit")
  clearTimeout(force)
}
