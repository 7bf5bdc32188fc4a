import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client"
import { VERSION } from "./version.ts"

export type { Registry } from "prom-client"

/** The values of a label that may change while the process runs, as configured projects do; another array once they have. */
export type ChangingSet = () => readonly string[]

/** The values that each label may have. A set that changes has `unknown` as well. */
export type LabelSets = Readonly<Record<string, readonly string[] | ChangingSet>>

/** One value for each label. */
export type Labels<Sets extends LabelSets> = {
  readonly [Name in keyof Sets]: Sets[Name] extends readonly (infer Value)[] ? Value : string
}

/** What a label says when its value is in no set: a scrape never grows with what comes in from outside. */
export const UNKNOWN = "unknown"

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

/**
 * A counter whose labels are closed sets; all its series that are `possible` begin at 0, those of new values too. A value of no
 * set counts as `unknown`.
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
  const begin = whenChanged(labels, (combination) => {
    if (possible(combination as Labels<Sets>)) counter.inc(combination, 0)
  })
  const counter = new Counter({
    ...{ name, help, labelNames: Object.keys(labels), registers: [registry] },
    collect: begin,
  })
  begin()
  const close = closed(labels)
  return { increase: (values, by = 1) => counter.inc(close(values), by) }
}

/**
 * A gauge whose labels are closed sets; all its series begin at 0. `collect` is awaited at every scrape, to set it then. With a
 * set that changes there are only the series that `collect` sets: what is gone is not shown as 0.
 */
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

/** The values that `set` has now, each array made into a set once. */
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

/** Calls `begin` with every combination of labels that has not been there before, at each call. */
function whenChanged(sets: LabelSets, begin: (combination: Record<string, string>) => void): () => void {
  const known = Object.values(sets).map(valuesOf)
  let seen: readonly ReadonlySet<string>[] = []
  return () => {
    const now = known.map((values) => values())
    if (seen.length > 0 && now.every((values, index) => values === seen[index])) return
    const fixed = Object.keys(sets).map((name, index) => [name, [...(now[index] ?? [])]] as const)
    for (const combination of combinations(Object.fromEntries(fixed))) begin(combination)
    seen = now
  }
}

function combinations(sets: LabelSets): Record<string, string>[] {
  const entries = Object.entries(sets).map(([name, set]) => [name, [...valuesOf(set)()]] as const)
  if (entries.reduce((count, [, values]) => count * values.length, 1) > MAX_INITIAL_SERIES) return []
  return entries.reduce<Record<string, string>[]>(
    (rows, [name, values]) => rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value }))),
    [{}],
  )
}
