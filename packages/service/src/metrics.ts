import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client"
import { VERSION } from "./version.ts"

export type { Registry } from "prom-client"

/** The values that each label may have. */
export type LabelSets = Readonly<Record<string, readonly string[]>>

/** One value for each label. */
export type Labels<Sets extends LabelSets> = { readonly [Name in keyof Sets]: Sets[Name][number] }

/** What a label says when its value is in no set: a scrape never grows with what comes in from outside. */
const UNKNOWN = "unknown"

/** Series that are shown as 0 before anything happened, so that a rate sees the first event. */
const MAX_INITIAL_SERIES = 500

/** A registry with Node's process metrics and `unseal_build_info{version,node}`. */
export function createRegistry(): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: "unseal_build_info",
    help: "Always 1; the labels say which version runs on which Node",
    labelNames: ["version", "node"],
    registers: [registry],
  }).set({ version: VERSION, node: process.versions.node }, 1)
  return registry
}

interface Definition<Sets extends LabelSets> {
  readonly name: string
  readonly help: string
  readonly labels: Sets
}

/** A counter whose labels are closed sets; all its series begin at 0. A value of no set counts as `unknown`. */
export function createCounter<const Sets extends LabelSets>(
  registry: Registry,
  { name, help, labels }: Definition<Sets>,
): { increase(values: Labels<Sets>, by?: number): void } {
  const counter = new Counter({ name, help, labelNames: Object.keys(labels), registers: [registry] })
  for (const combination of combinations(labels)) counter.inc(combination, 0)
  const close = closed(labels)
  return { increase: (values, by = 1) => counter.inc(close(values), by) }
}

/** A gauge whose labels are closed sets; all its series begin at 0. `collect` is awaited at every scrape, to set it then. */
export function createGauge<const Sets extends LabelSets>(
  registry: Registry,
  {
    name,
    help,
    labels,
    collect,
  }: Definition<Sets> & {
    collect?: (set: (values: Labels<Sets>, value: number) => void) => Promise<void> | void
  },
): { set(values: Labels<Sets>, value: number): void } {
  const close = closed(labels)
  const set = (values: Labels<Sets>, value: number) => gauge.set(close(values), value)
  const gauge = new Gauge({
    name,
    help,
    labelNames: Object.keys(labels),
    registers: [registry],
    ...(collect ? { collect: () => collect(set) } : {}),
  })
  for (const combination of combinations(labels)) gauge.set(combination, 0)
  return { set }
}

/** A histogram whose labels are closed sets. `buckets` are upper bounds in the unit that the name ends in. */
export function createHistogram<const Sets extends LabelSets>(
  registry: Registry,
  { name, help, labels, buckets }: Definition<Sets> & { readonly buckets: readonly number[] },
): { observe(values: Labels<Sets>, value: number): void } {
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

function closed<Sets extends LabelSets>(sets: Sets): (values: Labels<Sets>) => Record<string, string> {
  const known = Object.entries(sets).map(([name, values]) => [name, new Set(values)] as const)
  return (values) =>
    Object.fromEntries(
      known.map(([name, set]) => [name, set.has(values[name] ?? "") ? (values[name] ?? "") : UNKNOWN]),
    )
}

function combinations(sets: LabelSets): Record<string, string>[] {
  const entries = Object.entries(sets)
  if (entries.reduce((count, [, values]) => count * values.length, 1) > MAX_INITIAL_SERIES) return []
  return entries.reduce<Record<string, string>[]>(
    (rows, [name, values]) => rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value }))),
    [{}],
  )
}
