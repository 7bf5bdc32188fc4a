/** What a PromQL expression names, as Prometheus' own grammar reads it. */
import { parser } from "@prometheus-io/lezer-promql"

export interface Selector {
  readonly metric: string
  readonly matchers: readonly { readonly label: string; readonly operator: string; readonly value: string }[]
}

export interface Expression {
  /** What the grammar does not understand. */
  readonly errors: readonly string[]
  readonly selectors: readonly Selector[]
  /** The labels in `by`, `on` and the like. */
  readonly grouping: readonly string[]
  /** The labels that `label_replace` makes. */
  readonly made: readonly string[]
}

/** What Grafana puts in for its own variables, for a range of an hour. */
const GRAFANA: Readonly<Record<string, string>> = { $__rate_interval: "1m", $__range: "1h" }

/** The expression as Prometheus gets it. `values` are those of the board's variables. */
export function filled(expression: string, values: Readonly<Record<string, string>> = {}): string {
  const all: Record<string, string> = { ...GRAFANA }
  for (const [name, value] of Object.entries(values)) all[`$${name}`] = value
  // "$1" of label_replace is no variable.
  return expression.replaceAll(/\$[a-z_]\w*/g, (name) => {
    const value = all[name]
    if (value === undefined) throw new Error(`${expression} has an unknown variable ${name}`)
    return value
  })
}

/** Reads an expression that `filled` returned. */
export function readExpression(text: string): Expression {
  const errors: string[] = []
  const selectors: { metric: string; matchers: Selector["matchers"][number][] }[] = []
  const grouping: string[] = []
  const made: string[] = []
  let isGrouping = false
  let matcher: { label: string; operator: string; value: string } | undefined
  parser.parse(text).iterate({
    enter({ name, from, to, type }) {
      const words = text.slice(from, to)
      if (type.isError) errors.push(`${from}: ${text.slice(Math.max(0, from - 20), to + 20)}`)
      else if (name === "VectorSelector") selectors.push({ metric: "", matchers: [] })
      else if (name === "Identifier") selectors.at(-1)!.metric = words
      else if (name === "GroupingLabels") isGrouping = true
      else if (name === "UnquotedLabelMatcher") matcher = { label: "", operator: "", value: "" }
      else if (name === "LabelName" && matcher) matcher.label = words
      else if (name === "LabelName" && isGrouping) grouping.push(words)
      else if (name === "MatchOp" && matcher) matcher.operator = words
      else if (name === "StringLiteral" && matcher) matcher.value = JSON.parse(words)
    },
    leave({ name }) {
      if (name === "GroupingLabels") isGrouping = false
      if (name !== "UnquotedLabelMatcher") return
      selectors.at(-1)!.matchers.push(matcher!)
      matcher = undefined
    },
  })
  for (const [, label] of text.matchAll(/, "(\w+)", "\$1", "\w+", "\(\.\*\)"\)/g)) made.push(label!)
  return { errors, selectors, grouping, made }
}
