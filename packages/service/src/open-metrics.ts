/**
 * Exemplars, and the OpenMetrics text that carries them. prom-client has both, but its OpenMetrics registry renames counters in place,
 * so the same registry could no longer be shown in Prometheus' own text. Here the names and labels are the same in both.
 */
import type { Registry } from "prom-client"

export const OPEN_METRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

/** An observed value, and the trace that it belongs to. */
interface Exemplar {
  /** 32 hex digits. */
  readonly traceId: string
  readonly value: number
  /** By `Date.now`. */
  readonly at: number
}

/** The last exemplar of each series of a bucket. */
const EXEMPLARS = new WeakMap<Registry, Map<string, Exemplar>>()

type Labels = Readonly<Record<string, string | number>>

const seriesOf = (name: string, labels: Labels): string =>
  `${name}{${Object.keys(labels)
    .sort()
    .map((label) => `${label}="${escaped(String(labels[label]))}"`)
    .join()}}`

const escaped = (text: string): string =>
  text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"')

/** Remembers a value of the histogram `name` with the trace behind it, which must be one that is exported. */
export function keepExemplar(
  registry: Registry,
  name: string,
  labels: Labels,
  buckets: readonly number[],
  value: number,
  traceId: string,
): void {
  const le = buckets.find((bound) => value <= bound) ?? "+Inf"
  const kept = EXEMPLARS.get(registry) ?? new Map<string, Exemplar>()
  EXEMPLARS.set(registry, kept)
  kept.set(seriesOf(`${name}_bucket`, { ...labels, le }), { traceId, value, at: Date.now() })
}

/** Whether a client that sends `accept` gets OpenMetrics: it must accept it, and there must be exemplars to show. */
export const wantsOpenMetrics = (registry: Registry, accept: string | undefined): boolean =>
  EXEMPLARS.has(registry) && (accept ?? "").includes("application/openmetrics-text")

/** The metrics of `registry` as OpenMetrics text, with exemplars. */
export async function openMetricsOf(registry: Registry): Promise<string> {
  const kept = EXEMPLARS.get(registry) ?? new Map<string, Exemplar>()
  const lines: string[] = []
  for (const metric of await registry.getMetricsAsJSON()) {
    const { name, help, type } = metric
    const values = metric.values as { metricName?: string; labels: Labels; value: number }[]
    // A counter's family has no suffix, but its samples do.
    const isCounter = String(type) === "counter"
    const family = isCounter ? name.replace(/_total$/, "") : name
    lines.push(`# HELP ${family} ${escaped(help)}`)
    lines.push(`# TYPE ${family} ${isCounter && family === name ? "unknown" : String(type)}`)
    for (const { metricName = name, labels, value } of values) {
      const series = seriesOf(metricName, labels)
      const exemplar = kept.get(series)
      lines.push(`${series} ${numberOf(value)}${exemplar === undefined ? "" : exemplarOf(exemplar)}`)
    }
  }
  return `${lines.join("\n")}\n# EOF\n`
}

const exemplarOf = ({ traceId, value, at }: Exemplar): string =>
  ` # {trace_id="${traceId}"} ${numberOf(value)} ${(at / 1_000).toFixed(3)}`

function numberOf(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf"
  return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value)
}
