/** `docs/metrics.md`: what ingest, worker and console show at `/metrics`, as they register it. */

import { createConnectionMetrics } from "@unseal/observer/connection-metrics"
import { describeObserver, type Observed } from "@unseal/observer/observer"
import { createLogger } from "@unseal/service/log/logger"
import {
  createRegistry,
  describeMetrics,
  type MetricDescription,
  type Registry,
} from "@unseal/service/metrics"
import { createReloadMetrics } from "@unseal/service/projects/reloading"
import { createConsoleMetrics } from "../../apps/console/src/metrics.ts"
import {
  createConnectionsGauge,
  createCutRecorder,
  createOutcomeRecorder,
} from "../../apps/ingest/src/outcome.ts"
import { createBackfillMetrics } from "../../apps/worker/src/backfill/metrics.ts"
import { createKeyMetrics } from "../../apps/worker/src/keys/metrics.ts"
import { createWorkerMetrics } from "../../apps/worker/src/metrics.ts"
import { createRequestMetrics } from "../../apps/worker/src/watch/request-metrics.ts"
import { createSaturationMetrics } from "../../apps/worker/src/watch/saturation-metrics.ts"
import { createStoreNotices } from "../../apps/worker/src/watch/store-notices.ts"
import { code, generated, table } from "./markdown.ts"

const logger = createLogger("documents", "silent")
const NO_PROJECTS = { ids: [], get: () => undefined }
const NOTHING: Observed = { queue: async () => null, server: async () => null }

/** A registry with what ingest shows; nothing is behind it. */
export function ingestRegistry(
  projects: Parameters<typeof createOutcomeRecorder>[2] = NO_PROJECTS,
  observed: Observed = NOTHING,
): Registry {
  const registry = createRegistry()
  createReloadMetrics(registry, projects)
  createConnectionMetrics(registry)
  describeObserver(registry, projects, observed)
  createOutcomeRecorder(registry, logger, projects)
  createCutRecorder(registry, logger)
  createConnectionsGauge(registry, () => 0)
  return registry
}

/** A registry with what the console shows. */
function consoleRegistry(): Registry {
  const registry = createRegistry()
  createConsoleMetrics(registry)
  return registry
}

/** What a worker has to show only while something is wrong. */
interface Troubles {
  readonly observed: Observed
  readonly limits: Parameters<ReturnType<typeof createWorkerMetrics>["watchRequestLimits"]>[0]
  readonly asides: Parameters<ReturnType<typeof createWorkerMetrics>["watchAsides"]>[0]
}

/** A registry with what a worker shows; nothing is behind it but the troubles that are given. */
export function workerRegistry(
  projects: { readonly ids: readonly string[] } = NO_PROJECTS,
  { observed, limits, asides }: Troubles = { observed: NOTHING, limits: () => [], asides: () => [] },
): Registry {
  const registry = createRegistry()
  createReloadMetrics(registry, projects)
  const metrics = createWorkerMetrics(registry, projects, { holders: 0 })
  metrics.watchRequestLimits(limits)
  metrics.watchAsides(asides)
  createConnectionMetrics(registry)
  describeObserver(registry, projects, observed)
  createRequestMetrics(registry)
  createSaturationMetrics(registry, {
    concurrency: 8,
    budget: { used: 0, bulkUsed: 0, limit: 0, waiting: 0 },
    consumer: () => ({ active: 0, activeBulk: 0, idleMs: () => [] }),
  })
  createStoreNotices(registry, logger)
  createBackfillMetrics(registry)
  createKeyMetrics(registry, projects, { keys: async () => [] })
  return registry
}

/** What the labels whose values are not in the code say. */
const CHANGING: Readonly<Record<string, string>> = {
  project: "each configured project, or `unknown`",
  key_id: "each key that is open: SHA-256 of its public key, hex",
}

/** Sets that would fill a line. */
const KNOWN_SETS: readonly (readonly [is: (values: readonly string[]) => boolean, text: string])[] = [
  [(values) => values.some((value) => value.startsWith("ERR_")), "an [error code](errors.md)"],
]

function labelsOf({ labels }: MetricDescription): string {
  if (Object.keys(labels).length === 0) return "–"
  return Object.entries(labels)
    .map(([name, set]) => {
      if (typeof set === "function") {
        const text = CHANGING[name]
        if (text === undefined) throw new Error(`the document has no text for the values of label ${name}`)
        return `${code(name)}: ${text}`
      }
      if (name === "version" || name === "node") return `${code(name)}: as installed`
      const known = KNOWN_SETS.find(([is]) => is(set))?.[1]
      const none = known !== undefined && set.includes("none") ? ", or `none`" : ""
      return `${code(name)}: ${known ? known + none : set.map(code).join(", ")}`
    })
    .join("; ")
}

/** By the convention of Prometheus, a metric's name ends in its unit. */
function unitOf({ name, type, help }: MetricDescription): string {
  const [, unit] = /_(seconds|bytes)(?:_total)?$/.exec(name) ?? []
  if (unit) return unit
  return type === "counter" || !/^(Always )?1\b/.test(help) ? "count" : "0 or 1"
}

const OVER_REPLICAS = { sum: "`sum`", max: "`max`", min: "`min`", each: "look at each" }

/** Every metric of every process, each once. */
export function describedMetrics(): readonly MetricDescription[] {
  const all = [ingestRegistry(), workerRegistry(), consoleRegistry()].flatMap((one) => [
    ...describeMetrics(one),
  ])
  return [...new Map(all.map((metric) => [metric.name, metric])).values()]
}

export function metricsDocument(): string {
  const found = new Map<string, { metric: MetricDescription; processes: string[] }>()
  for (const [process, registry] of [
    ["ingest", ingestRegistry()],
    ["worker", workerRegistry()],
    ["console", consoleRegistry()],
  ] as const)
    for (const metric of describeMetrics(registry)) {
      if (metric.help.trim() === "") throw new Error(`metric ${metric.name} has no help text`)
      const entry = found.get(metric.name) ?? { metric, processes: [] }
      entry.processes.push(process)
      found.set(metric.name, entry)
    }
  const rows = [...found.values()].map(({ metric, processes }) => [
    code(metric.name),
    processes.join(", "),
    metric.type,
    unitOf(metric),
    labelsOf(metric),
    OVER_REPLICAS[metric.overReplicas],
    metric.help,
  ])
  return generated(
    "Metrics",
    "Ingest, workers and the console show these at `/metrics` of their admin port, as Prometheus text. Labels come from closed sets: a value from outside is `unknown`, so no input can create a series.",
    "*Over replicas* says how to combine the values of several processes. Counters and histograms add up. The state of the queue and of Redis is shown by one process, the one whose `unseal_queue_observer` is 1; the others have no such series. While that changes, no process or two may show it for some seconds. So combine the values as the column says, never by `sum`.",
    "A counter with up to 500 series shows all of them from 0, so that a rate sees the first event. With more, as with many projects, each series begins with its first event. A value that Redis does not give within a second is absent.",
    "A gauge has at most 750 series, and any other metric at most 2,000. What comes after them is counted under `other`. `UNSEAL_METRICS_PROJECT_LABEL=0` drops the label `project`. Counters then add up over projects, and the help text of a gauge says what it shows.",
    "Each process also shows `process_…` and `nodejs_…`: CPU, memory, descriptors, lag of the event loop and garbage collection, as [prom-client](https://github.com/siimon/prom-client) names them.",
    table(["metric", "process", "type", "unit", "labels", "over replicas", "meaning"], rows),
  )
}
