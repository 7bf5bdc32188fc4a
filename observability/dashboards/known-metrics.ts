/** The metrics that boards may ask for: those that ingest and worker register, with their labels. */
import { describeMetrics, type MetricDescription } from "@unseal/service/metrics"
import { ingestRegistry, workerRegistry } from "../../test/documents/metrics.ts"

/** A metric of the code's tables. */
export type KnownMetric = Omit<MetricDescription, "name" | "help">

/** By name. Those of prom-client (`process_…`, `nodejs_…`) belong to one process each, and have the labels of their samples. */
export const KNOWN_METRICS: ReadonlyMap<string, KnownMetric> = await readAll()

async function readAll(): Promise<ReadonlyMap<string, KnownMetric>> {
  const found = new Map<string, KnownMetric>()
  for (const registry of [ingestRegistry(), workerRegistry()]) {
    for (const { name, ...metric } of describeMetrics(registry)) found.set(name, metric)
    for (const { name } of registry.getMetricsAsArray()) {
      if (found.has(name)) continue
      const { type, values } = await registry.getSingleMetric(name)!.get()
      const labels = new Set(values.flatMap((sample) => Object.keys(sample.labels)))
      labels.delete("le")
      found.set(name, {
        // The library's type is an enum of numbers; its values are words.
        type: String(type) as KnownMetric["type"],
        labels: Object.fromEntries([...labels].map((label) => [label, () => []])),
        overReplicas: "each",
      })
    }
  }
  return found
}
