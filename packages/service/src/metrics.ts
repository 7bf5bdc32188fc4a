import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client"
import { combinations, isChanging, type LabelSets, type Labels, seriesOf, whenChanged } from "./label-sets.ts"
import { keepExemplar } from "./open-metrics.ts"
import { VERSION } from "./version.ts"

export type { Registry } from "prom-client"
export { UNKNOWN } from "./label-sets.ts"

/**
 * Series of one counter or histogram. What comes after them is counted under `other`, so that a thousand projects fit in a scrape
 * of 1 MB.
 */
const MAX_SERIES = 2_000
/** Series of one gauge. A worker has several with a series for each project. */
const MAX_GAUGE_SERIES = 750

/**
 * How to combine several values of a metric: `sum`, or `max` or `min` if all are the same, or if the worst counts. `each`: values
 * can't be combined.
 */
export type Combination = "sum" | "max" | "min" | "each"

/** The documentation of a metric. */
export interface MetricDescription {
  readonly name: string
  readonly type: "counter" | "gauge" | "histogram"
  readonly help: string
  readonly labels: LabelSets
  readonly overReplicas: Combination
}

interface Known {
  readonly metrics: MetricDescription[]
  readonly dropped: string | undefined
}

const KNOWN = new WeakMap<Registry, Known>()

/** Unseal's own metrics in `registry`, in order of creation. */
export const describeMetrics = (registry: Registry): readonly MetricDescription[] =>
  KNOWN.get(registry)?.metrics ?? []

/**
 * Gauges of prom-client with names like counters, which promtool rejects. The same metrics without `_total` have equal
 * information, by type.
 */
const MISNAMED = [
  "nodejs_active_resources_total",
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
]

/** Creates a registry with Node's process metrics and `unseal_build_info{version,node}`. */
export function createRegistry({
  projectLabel = true,
}: {
  /** `false` drops the label `project` of every metric. */
  readonly projectLabel?: boolean
} = {}): Registry {
  const registry = new Registry()
  KNOWN.set(registry, { metrics: [], dropped: projectLabel ? undefined : "project" })
  collectDefaultMetrics({ register: registry })
  for (const name of MISNAMED) registry.removeSingleMetric(name)
  createGauge(registry, {
    name: "unseal_build_info",
    help: "Always 1; the labels say which version runs on which Node",
    labels: { version: [VERSION], node: [process.versions.node] },
    overReplicas: "sum",
  }).set({ version: VERSION, node: process.versions.node }, 1)
  return registry
}

interface Definition<Sets extends LabelSets> {
  readonly name: string
  readonly help: string
  readonly labels: Sets
}

function describe(
  registry: Registry,
  type: MetricDescription["type"],
  { name, help, labels }: Definition<LabelSets>,
  overReplicas: Combination = "sum",
): string | undefined {
  const known = KNOWN.get(registry)
  known?.metrics.push({ name, type, help, labels, overReplicas })
  return known?.dropped
}

/**
 * Creates a counter whose labels are closed sets. Its `possible` series, those of new values included, begin at 0 while there are
 * at most 500. An unlisted value counts as `unknown`.
 */
export function createCounter<const Sets extends LabelSets>(
  registry: Registry,
  {
    name,
    help,
    labels,
    possible = () => true,
  }: Definition<Sets> & { readonly possible?: (values: Labels<Sets>) => boolean },
): { increase(values: Labels<Sets>, by?: number): void } {
  const dropped = describe(registry, "counter", { name, help, labels })
  const series = seriesOf(labels, MAX_SERIES, dropped)
  const isPossible = (combination: object) => possible(combination as Labels<Sets>)
  const begin = whenChanged(labels, dropped, isPossible, (one) => counter.inc(series.of(one), 0))
  const counter = new Counter({
    ...{ name, help, labelNames: [...series.names], registers: [registry] },
    collect: begin,
  })
  begin()
  return { increase: (values, by = 1) => counter.inc(series.of(values), by) }
}

/**
 * Creates a gauge whose labels are closed sets. With `collect`, which is awaited at every scrape, it has only the series that
 * `collect` sets: what is not known is absent, and never 0. Without it, all series begin at 0. Several values of one series (of
 * several projects, once the label is dropped) are combined by `overProjects` (default: `sum`).
 */
export function createGauge<const Sets extends LabelSets>(
  registry: Registry,
  {
    name,
    help,
    labels,
    overReplicas,
    overProjects = "sum",
    collect,
  }: Definition<Sets> & {
    readonly overReplicas: Combination
    readonly overProjects?: Exclude<Combination, "each">
    collect?: (set: (values: Labels<Sets>, value: number) => void) => Promise<void> | void
  },
): { set(values: Labels<Sets>, value: number): void } {
  const dropped = describe(registry, "gauge", { name, help, labels }, overReplicas)
  const series = seriesOf(labels, MAX_GAUGE_SERIES, dropped)
  const gauge = new Gauge({
    name,
    help,
    labelNames: [...series.names],
    registers: [registry],
    ...(collect && { collect: () => collectInto(collect) }),
  })

  async function collectInto(fill: NonNullable<typeof collect>): Promise<void> {
    const values = new Map<string, readonly [labels: Record<string, string>, value: number]>()
    series.forget()
    await fill((given, value) => {
      const labels = series.of(given)
      const id = Object.values(labels).join("\0")
      const earlier = values.get(id)?.[1]
      values.set(id, [labels, earlier === undefined ? value : COMBINE[overProjects](earlier, value)])
    })
    gauge.reset()
    // A reset leaves a gauge without labels at 0.
    if (series.names.length === 0) gauge.remove()
    for (const [labels, value] of values.values()) gauge.set(labels, value)
  }

  if (!collect && !isChanging(labels, dropped))
    for (const one of combinations(labels, undefined, dropped)) gauge.set(one, 0)
  return { set: (values, value) => gauge.set(series.of(values), value) }
}

const COMBINE = { sum: (a: number, b: number) => a + b, max: Math.max, min: Math.min }

/**
 * Creates a histogram whose labels are closed sets. `buckets` are upper bounds in the unit at the end of the name. Series that
 * `begins` allows (default: all) begin at 0, the others with their first value.
 */
export function createHistogram<const Sets extends LabelSets>(
  registry: Registry,
  {
    name,
    help,
    labels,
    buckets,
    begins = () => true,
  }: Definition<Sets> & {
    readonly buckets: readonly number[]
    readonly begins?: (values: Labels<Sets>) => boolean
  },
): { observe(values: Labels<Sets>, value: number, traceId?: string): void } {
  const dropped = describe(registry, "histogram", { name, help, labels })
  const series = seriesOf(labels, MAX_SERIES, dropped)
  const histogram = new Histogram({
    name,
    help,
    labelNames: [...series.names],
    buckets: [...buckets],
    registers: [registry],
  })
  for (const one of combinations(labels, (values) => begins(values as Labels<Sets>), dropped))
    histogram.zero(one)
  return {
    observe(values, value, traceId) {
      const one = series.of(values)
      histogram.observe(one, value)
      if (traceId !== undefined) keepExemplar(registry, name, one, buckets, value, traceId)
    },
  }
}

/** Gauges collected by the same scrape share one answer. */
export function sharedByOneScrape<T>(ask: () => Promise<T>): () => Promise<T> {
  let asking: Promise<T> | undefined
  return () => {
    asking ??= ask().finally(() => {
      asking = undefined
    })
    return asking
  }
}
