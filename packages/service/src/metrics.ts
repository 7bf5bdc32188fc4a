import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client"
import { VERSION } from "./version.ts"

export type { Registry } from "prom-client"

/** A label's values, if they may change while the process runs, as configured projects do. A change makes a new array. */
export type ChangingSet = () => readonly string[]

/** The allowed values of each label. A changing set also has `unknown`. */
export type LabelSets = Readonly<Record<string, readonly string[] | ChangingSet>>

/** One value for each label. */
export type Labels<Sets extends LabelSets> = {
  readonly [Name in keyof Sets]: Sets[Name] extends readonly (infer Value)[] ? Value : string
}

/** The label of a value in no set: outside input must never make a scrape grow. */
export const UNKNOWN = "unknown"

/**
 * Up to this many series of a metric begin at 0, so that a rate includes the first event. Beyond that each series begins with its
 * first event: a scrape grows with what happened, not with what could happen.
 */
const MAX_INITIAL_SERIES = 500

/**
 * How to combine the values of several replicas: `sum`, or `max` or `min` if each shows the same value, or if the worst counts.
 * `each`: values can't be combined.
 */
export type OverReplicas = "sum" | "max" | "min" | "each"

/** The documentation of a metric. */
export interface MetricDescription {
  readonly name: string
  readonly type: "counter" | "gauge" | "histogram"
  readonly help: string
  readonly labels: LabelSets
  readonly overReplicas: OverReplicas
}

const DESCRIPTIONS = new WeakMap<Registry, MetricDescription[]>()

/** Unseal's own metrics in `registry`, in order of creation. */
export const describeMetrics = (registry: Registry): readonly MetricDescription[] =>
  DESCRIPTIONS.get(registry) ?? []

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
export function createRegistry(): Registry {
  const registry = new Registry()
  DESCRIPTIONS.set(registry, [])
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
  overReplicas: OverReplicas = "sum",
): void {
  DESCRIPTIONS.get(registry)?.push({ name, type, help, labels, overReplicas })
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
  describe(registry, "counter", { name, help, labels })
  const begin = whenChanged(
    labels,
    (combination) => possible(combination as Labels<Sets>),
    (combination) => counter.inc(combination, 0),
  )
  const counter = new Counter({
    ...{ name, help, labelNames: Object.keys(labels), registers: [registry] },
    collect: begin,
  })
  begin()
  const close = closed(labels)
  return { increase: (values, by = 1) => counter.inc(close(values), by) }
}

/**
 * Creates a gauge whose labels are closed sets. All series begin at 0. `collect` is awaited at every scrape and sets the gauge.
 * With a changing set there are only the series that `collect` sets, so removed values do not show as 0.
 */
export function createGauge<const Sets extends LabelSets>(
  registry: Registry,
  {
    name,
    help,
    labels,
    overReplicas,
    collect,
  }: Definition<Sets> & {
    readonly overReplicas: OverReplicas
    collect?: (set: (values: Labels<Sets>, value: number) => void) => Promise<void> | void
  },
): { set(values: Labels<Sets>, value: number): void } {
  describe(registry, "gauge", { name, help, labels }, overReplicas)
  const changes = Object.values(labels).some((values) => typeof values === "function")
  const close = closed(labels)
  const set = (values: Labels<Sets>, value: number) => gauge.set(close(values), value)
  const gauge = new Gauge({
    name,
    help,
    labelNames: Object.keys(labels),
    registers: [registry],
    ...(collect
      ? {
          collect() {
            if (changes) gauge.reset()
            return collect(set)
          },
        }
      : {}),
  })
  if (!changes) for (const combination of combinations(labels)) gauge.set(combination, 0)
  return { set }
}

/** Creates a histogram whose labels are closed sets. `buckets` are upper bounds in the unit at the end of the name. */
export function createHistogram<const Sets extends LabelSets>(
  registry: Registry,
  { name, help, labels, buckets }: Definition<Sets> & { readonly buckets: readonly number[] },
): { observe(values: Labels<Sets>, value: number): void } {
  describe(registry, "histogram", { name, help, labels })
  const histogram = new Histogram({
    name,
    help,
    labelNames: Object.keys(labels),
    buckets: [...buckets],
    registers: [registry],
  })
  for (const combination of combinations(labels)) histogram.zero(combination)
  const close = closed(labels)
  return { observe: (values, value) => histogram.observe(close(values), value) }
}

/** The current values of `set`. Each array is made into a set once. */
function valuesOf(set: LabelSets[string]): () => ReadonlySet<string> {
  let seen: readonly string[] | undefined
  let values: ReadonlySet<string> = new Set()
  return () => {
    const now = typeof set === "function" ? set() : set
    if (now !== seen) {
      seen = now
      values = new Set(typeof set === "function" ? [...now, UNKNOWN] : now)
    }
    return values
  }
}

function closed<Sets extends LabelSets>(sets: Sets): (values: Labels<Sets>) => Record<string, string> {
  const known = Object.entries(sets).map(([name, set]) => [name, valuesOf(set)] as const)
  return (values) => {
    const given = values as Readonly<Record<string, string | undefined>>
    const shown = (name: string, set: ReadonlySet<string>) => {
      const value = given[name] ?? ""
      return set.has(value) ? value : UNKNOWN
    }
    return Object.fromEntries(known.map(([name, set]) => [name, shown(name, set())]))
  }
}

/** Calls `begin` with every `possible` combination of labels, again whenever a set has changed since the last call. */
function whenChanged(
  sets: LabelSets,
  possible: (combination: Record<string, string>) => boolean,
  begin: (combination: Record<string, string>) => void,
): () => void {
  const known = Object.values(sets).map(valuesOf)
  let seen: readonly ReadonlySet<string>[] = []
  return () => {
    const now = known.map((values) => values())
    if (seen.length > 0 && now.every((values, index) => values === seen[index])) return
    for (const combination of combinations(sets, possible)) begin(combination)
    seen = now
  }
}

/** Every `possible` combination of labels; none if there are too many to begin at 0. */
function combinations(
  sets: LabelSets,
  possible: (combination: Record<string, string>) => boolean = () => true,
): Record<string, string>[] {
  const entries = Object.entries(sets).map(([name, set]) => [name, [...valuesOf(set)()]] as const)
  const found: Record<string, string>[] = []
  for (const combination of product(entries)) {
    if (!possible(combination)) continue
    // With thousands of projects, the rest need not be computed.
    if (found.length === MAX_INITIAL_SERIES) return []
    found.push(combination)
  }
  return found
}

function* product(
  entries: readonly (readonly [name: string, values: readonly string[]])[],
): Generator<Record<string, string>> {
  const [first, ...others] = entries
  if (first === undefined) return yield {}
  const [name, values] = first
  for (const value of values) for (const rest of product(others)) yield { [name]: value, ...rest }
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
