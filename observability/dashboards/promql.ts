/** PromQL from the code's own metrics. A name, a label or a label's value that the code does not have is an error here. */
import { KNOWN_METRICS, type KnownMetric } from "./known-metrics.ts"

/** A value that the label must have, one of several, none of several, or a board's variable (`$project`). */
export type Wanted = string | readonly string[] | { readonly not: readonly string[] }
export type Labels = Readonly<Record<string, Wanted>>

/** Labels that Prometheus adds: where a process runs. */
const TARGET_LABELS = ["namespace", "job", "instance"]

/** What every query of every board is limited to. In a Prometheus without namespaces, its value is `.*`, which fits no label, too. */
const EVERYWHERE: Labels = { namespace: "$namespace" }

function known(name: string, type?: KnownMetric["type"]): KnownMetric {
  const metric = KNOWN_METRICS.get(name)
  if (metric === undefined) throw new Error(`no process shows a metric ${name}`)
  if (type !== undefined && metric.type !== type)
    throw new Error(`${name} is a ${metric.type}, not a ${type}`)
  return metric
}

function checkLabel(name: string, { labels }: KnownMetric, label: string, values: readonly string[]): void {
  if (TARGET_LABELS.includes(label)) return
  const set = labels[label]
  if (set === undefined) throw new Error(`${name} has no label ${label}`)
  if (typeof set === "function") return
  for (const value of values)
    if (!value.startsWith("$") && !set.includes(value))
      throw new Error(`${name} never has ${label}="${value}"`)
}

const matcher = (label: string, wanted: Wanted): string => {
  if (typeof wanted === "string") return `${label}${wanted.startsWith("$") ? "=~" : "="}"${wanted}"`
  return "not" in wanted ? `${label}!~"${wanted.not.join("|")}"` : `${label}=~"${wanted.join("|")}"`
}

const valuesIn = (wanted: Wanted): readonly string[] =>
  typeof wanted === "string" ? [wanted] : "not" in wanted ? wanted.not : wanted

function select(name: string, labels: Labels, suffix = ""): string {
  const metric = known(name)
  const all = { ...EVERYWHERE, ...labels }
  for (const [label, wanted] of Object.entries(all)) checkLabel(name, metric, label, valuesIn(wanted))
  return `${name}${suffix}{${Object.entries(all)
    .map(([label, wanted]) => matcher(label, wanted))
    .join(", ")}}`
}

function grouped(operator: string, name: string, by: readonly string[], inner: string): string {
  for (const label of by) if (label !== "le") checkLabel(name, known(name), label, [])
  return `${operator}${by.length > 0 ? ` by (${by.join(", ")}) ` : ""}(${inner})`
}

/** What a query asks for, beside the metric's name. */
export interface Asked {
  readonly labels?: Labels
  /** Labels that stay apart. */
  readonly by?: readonly string[]
  /** The range of a rate, an increase or a quantile. Default: what suits the resolution of the graph. */
  readonly over?: string
}

const RATE = "$__rate_interval"

/** Events (or bytes, or seconds) per second of a counter. */
export function rate(name: string, { labels = {}, by = [], over = RATE }: Asked = {}): string {
  known(name, "counter")
  return grouped("sum", name, by, `rate(${select(name, labels)}[${over}])`)
}

/** How much a counter grew. */
export function increase(name: string, { labels = {}, by = [], over = "$__range" }: Asked = {}): string {
  known(name, "counter")
  return grouped("sum", name, by, `increase(${select(name, labels)}[${over}])`)
}

/** A gauge over all replicas, combined in the way that its definition names. */
export function gauge(name: string, { labels = {}, by = [] }: Asked = {}): string {
  const { overReplicas } = known(name, "gauge")
  if (overReplicas === "each" && !by.includes("instance"))
    throw new Error(`${name} can't be combined over replicas: ask by instance`)
  return grouped(overReplicas === "each" ? "max" : overReplicas, name, by, select(name, labels))
}

/** A quantile (0 to 1) of a histogram. */
export function quantile(q: number, name: string, { labels = {}, by = [], over = RATE }: Asked = {}): string {
  known(name, "histogram")
  const buckets = `rate(${select(name, labels, "_bucket")}[${over}])`
  return `histogram_quantile(${q}, ${grouped("sum", name, ["le", ...by], buckets)})`
}

/** Observations per second of a histogram. */
export function observations(name: string, { labels = {}, by = [], over = RATE }: Asked = {}): string {
  known(name, "histogram")
  return grouped("sum", name, by, `rate(${select(name, labels, "_count")}[${over}])`)
}

/** What a histogram observed in each second, summed: seconds per second are how many are busy at once. */
export function total(name: string, { labels = {}, by = [], over = RATE }: Asked = {}): string {
  known(name, "histogram")
  return grouped("sum", name, by, `rate(${select(name, labels, "_sum")}[${over}])`)
}

/**
 * The share (0 to 1) of all observations that are `good` and took at most `seconds`, which is one of the histogram's bounds.
 * Prometheus 3 writes the bound 3600 as 3600.0, and Prometheus 2 as the process does.
 */
export function shareWithin(
  seconds: number,
  name: string,
  {
    good = {},
    labels = {},
    over = "$__range",
  }: Pick<Asked, "labels" | "over"> & { readonly good?: Labels } = {},
): string {
  known(name, "histogram")
  const within = select(name, { ...labels, ...good }, "_bucket").replace(
    /\}$/,
    `, le=~"${String(seconds).replace(".", "\\\\.")}(\\\\.0)?"}`,
  )
  const count = select(name, labels, "_count")
  return share(`sum(increase(${within}[${over}]))`, `sum(increase(${count}[${over}]))`)
}

/** A metric that the Node process itself shows, of those processes that show `owner` too. */
export function ofProcess(
  name: string,
  owner: string,
  { labels = {}, over }: Omit<Asked, "by"> = {},
): string {
  const { type } = known(name)
  known(owner)
  if ((type === "counter") !== (over !== undefined)) throw new Error(`${name} is a ${type}`)
  const series = over === undefined ? select(name, labels) : `rate(${select(name, labels)}[${over}])`
  return `${series} and on (job, instance) ${select(owner, {})}`
}

/** How many processes show a metric. */
export const processesWith = (name: string, labels: Labels = {}): string =>
  `count(count by (job, instance) (${select(name, labels)}))`

/** The same series with the value of label `from` as label `to`, too, so that a table can show it in two ways. */
export const copied = (expression: string, from: string, to: string): string =>
  `label_replace(${expression}, "${to}", "$1", "${from}", "(.*)")`

/** 0 where there is nothing. */
export const orZero = (expression: string): string => `(${expression}) or vector(0)`

/** A share, and nothing while there is nothing to share. */
export const share = (part: string, whole: string): string => `${part} / (${whole} > 0)`
