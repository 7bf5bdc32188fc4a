/** What is wrong with a board, in sentences. */
import { KNOWN_METRICS } from "../../observability/dashboards/known-metrics.ts"
import { filled, readExpression } from "./expression.ts"
import { type Board, type Panel, shownIn, type Target } from "./files.ts"

/** Labels that Prometheus adds to every series. */
const TARGET_LABELS = ["namespace", "job", "instance"]

/** Prometheus' own series of alerts, with the labels that all rules have. */
const ALERTS = { name: "ALERTS", labels: ["alertname", "alertstate", "severity", "owner"] }

/** Any value of a board's variable does, to read an expression. */
const variablesOf = ({ templating }: Board): Record<string, string> =>
  Object.fromEntries(templating.list.map(({ name }) => [name, "x"]))

/** The labels of a series that Prometheus has under this name, or null. */
function labelsOf(series: string): readonly string[] | null {
  if (series === ALERTS.name) return ALERTS.labels
  const own = KNOWN_METRICS.get(series)
  if (own !== undefined && own.type !== "histogram") return [...Object.keys(own.labels), ...TARGET_LABELS]
  const histogram = KNOWN_METRICS.get(series.replace(/_(bucket|sum|count)$/, ""))
  if (histogram?.type !== "histogram" || own !== undefined) return null
  return [...Object.keys(histogram.labels), ...TARGET_LABELS, ...(series.endsWith("_bucket") ? ["le"] : [])]
}

const valuesOf = (series: string, label: string): readonly string[] | null => {
  const metric = KNOWN_METRICS.get(series) ?? KNOWN_METRICS.get(series.replace(/_(bucket|sum|count)$/, ""))
  const set = metric?.labels[label]
  return typeof set === "object" ? set : null
}

/** What is wrong with one query. */
export function queryProblems(expression: string, board: Board): string[] {
  const variables = variablesOf(board)
  const text = filled(expression, variables)
  const { errors, selectors, grouping, made } = readExpression(text)
  const problems = errors.map((error) => `does not parse at ${error}`)
  if (selectors.length === 0) problems.push("names no metric")
  const known = new Set(made)
  for (const { metric, matchers } of selectors) {
    const labels = labelsOf(metric)
    if (labels === null) {
      problems.push(`no process shows ${metric}`)
      continue
    }
    for (const label of labels) known.add(label)
    if (metric !== ALERTS.name && !matchers.some(({ label }) => label === "namespace"))
      problems.push(`${metric} is not limited to the namespace`)
    for (const { label, operator, value } of matchers) {
      if (!labels.includes(label)) problems.push(`${metric} has no label ${label}`)
      const values = valuesOf(metric, label)
      for (const one of operator.endsWith("~") ? value.split("|") : [value])
        if (values !== null && one !== "x" && !values.includes(one))
          problems.push(`${metric} never has ${label}="${one}"`)
    }
  }
  for (const label of grouping) if (!known.has(label)) problems.push(`groups by ${label}, which nothing has`)
  return problems
}

/** The labels that a result still has. */
function labelsLeft({ expr }: Target, board: Board): readonly string[] {
  const { grouping, made, selectors } = readExpression(filled(expr, variablesOf(board)))
  return grouping.length > 0 ? [...grouping, ...made] : selectors.length > 0 ? TARGET_LABELS : []
}

function panelProblems(panel: Panel, board: Board): string[] {
  const problems: string[] = []
  const { title, description = "", targets = [], fieldConfig } = panel
  if (title.trim() === "") problems.push("has no title")
  if (!/^\*\*Normal:\*\* .+\n\n\*\*Otherwise:\*\* /.test(description))
    problems.push("does not say what is normal and what to do otherwise")
  if (!fieldConfig?.defaults.unit) problems.push("has no unit")
  if (targets.length === 0) problems.push("asks for nothing")
  for (const target of targets) {
    problems.push(...queryProblems(target.expr, board))
    const left = labelsLeft(target, board)
    for (const [, label] of target.legendFormat.matchAll(/\{\{(\w+)\}\}/g))
      if (!left.includes(label!)) problems.push(`its legend names ${label}, which the result does not have`)
    if (target.legendFormat === "") problems.push("has a query without a legend")
  }
  if (panel.type === "table") {
    const left = targets.flatMap((target) => labelsLeft(target, board))
    const values = targets.length > 1 ? targets.map(({ refId }) => `Value #${refId}`) : ["Value"]
    const columns = panel.transformations?.find(({ id }) => id === "organize")?.options.renameByName ?? {}
    for (const column of Object.keys(columns))
      if (!left.includes(column) && !values.includes(column)) problems.push(`has no column ${column}`)
    for (const { matcher } of fieldConfig?.overrides ?? [])
      if (!Object.values(columns).includes(matcher.options))
        problems.push(`formats no column ${matcher.options}`)
  }
  return problems
}

const overlaps = (a: Panel["gridPos"], b: Panel["gridPos"]): boolean =>
  a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h

/** What is wrong with a board, beside `uids`, those of all boards. */
export function boardProblems(board: Board, uids: readonly string[]): string[] {
  const problems: string[] = []
  for (const panel of shownIn(board))
    problems.push(...panelProblems(panel, board).map((problem) => `${panel.title}: ${problem}`))
  board.panels.forEach((panel, index) => {
    const { x, w, h } = panel.gridPos
    if (x < 0 || w < 1 || h < 1 || x + w > 24) problems.push(`${panel.title}: is not on the grid`)
    for (const other of board.panels.slice(index + 1)) {
      if (overlaps(panel.gridPos, other.gridPos)) problems.push(`${panel.title}: lies on ${other.title}`)
      if (panel.id === other.id) problems.push(`${panel.title}: has the number of ${other.title}`)
    }
  })
  for (const [, uid] of JSON.stringify(board).matchAll(/\/d\/([\w-]+)/g))
    if (!uids.includes(uid!)) problems.push(`links to a board ${uid} that does not exist`)
  for (const [, uid, name] of JSON.stringify(board).matchAll(/\/d\/([\w-]+)\?var-(\w+)=/g))
    if (name !== "project" || uid !== "unseal-project") problems.push(`sets a variable ${name} of ${uid}`)
  for (const { name, definition } of board.templating.list) {
    const [, metric, label] = /^label_values\((\w+)(?:\{.*\})?, (\w+)\)$/.exec(definition ?? "") ?? []
    if (definition !== undefined && !labelsOf(metric!)?.includes(label!))
      problems.push(`variable ${name} asks for ${label} of ${metric}`)
  }
  return problems
}
