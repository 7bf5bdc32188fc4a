/** The rules against the code's own tables, and the runbook against the rules. */
import { readdirSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { describeMetrics, type MetricDescription } from "@unseal/service/metrics"
import { expect, test } from "vitest"
import { RUNBOOK } from "../../observability/rules/rules.ts"
import { allowedIn, EXPECTED } from "../chaos/alerts.ts"
import { ROWS } from "../chaos/rows/all.ts"
import { ingestRegistry, workerRegistry } from "../documents/metrics.ts"
import { rulesOf } from "../documents/rules.ts"
import { runCli } from "../harness/process.ts"

const root = resolve(import.meta.dirname, "../..")
const runbook = readFileSync(join(root, "docs/runbook.md"), "utf8")
const rules = rulesOf().flatMap((group) => group.rules)
const alerts = rules.flatMap((rule) => ("alert" in rule ? [rule] : []))
const names = [...new Set(alerts.map(({ alert }) => alert))]
const recorded = rules.flatMap((rule) => ("record" in rule ? [rule.record] : []))

const metrics = new Map<string, MetricDescription>(
  [ingestRegistry(), workerRegistry()].flatMap(describeMetrics).map((metric) => [metric.name, metric]),
)
/** The metric that a series belongs to. */
const metricOf = (series: string) =>
  metrics.get(series) ?? metrics.get(series.replace(/_(bucket|count|sum)$/, ""))

const SERIES = /\b(unseal_\w+)(?:\{([^}]*)\})?/g
/** What Prometheus, and whoever configures it, gives every series. */
const ADDED = ["namespace", "job", "instance", "le"]

/** What is wrong with the metrics, labels and values in an expression. */
function problemsOf(expr: string): string[] {
  const problems: string[] = []
  const labels = new Set(ADDED)
  for (const [, series, selector = ""] of expr.matchAll(SERIES)) {
    const metric = metricOf(series!)
    if (metric === undefined) {
      problems.push(`there is no metric ${series}`)
      continue
    }
    for (const label of Object.keys(metric.labels)) labels.add(label)
    for (const [, label, , values] of selector.matchAll(/(\w+)([=!]~?)"([^"]*)"/g)) {
      if (label === "le" && series!.endsWith("_bucket")) continue
      const set = metric.labels[label!]
      if (set === undefined) problems.push(`${series} has no label ${label}`)
      else if (typeof set !== "function")
        for (const value of values!.split("|"))
          if (!set.includes(value)) problems.push(`${series} has no ${label} ${value}`)
    }
  }
  for (const [, by] of expr.matchAll(/\bby \(([^)]*)\)/g))
    for (const label of by!.split(", "))
      if (!labels.has(label)) problems.push(`no metric has the label ${label} in: ${expr}`)
  return problems
}

test("every metric, label and value in the rules is in the code", () => {
  expect(rules.flatMap(({ expr }) => problemsOf(expr))).toEqual([])
  for (const name of rules.flatMap(({ expr }) => expr.match(/unseal:[\w:]+/g) ?? []))
    expect(recorded).toContain(name)
})

test("one that is not in the code is found", () => {
  expect(problemsOf('max by (side) (unseal_queue_oldest_second{stage="read"})')).toEqual([
    "there is no metric unseal_queue_oldest_second",
    expect.stringContaining("no metric has the label side"),
  ])
  expect(problemsOf('unseal_callbacks_total{outcome=~"enqueued|lost",side="source"}')).toEqual([
    "unseal_callbacks_total has no outcome lost",
    "unseal_callbacks_total has no label side",
  ])
})

test("a histogram's bound is one of its buckets", async () => {
  const exposed = `${await ingestRegistry().metrics()}${await workerRegistry().metrics()}`
  const bounds = rules.flatMap(({ expr }) => [...expr.matchAll(/(\w+)_bucket\{[^}]*le=~?"([\d.]+)/g)])
  expect(bounds.length).toBeGreaterThan(10)
  for (const [, name, bound] of bounds)
    expect(exposed).toMatch(new RegExp(`^${name}_bucket\\{.*le="${bound}"`, "m"))
})

test.each(alerts.map((alert) => [`${alert.alert} ${alert.labels.severity}`, alert] as const))(
  "%s says how bad it is, whose trouble, what is wrong, and where to read on",
  (_, { alert, expr, labels, annotations }) => {
    expect(labels.severity).toMatch(/^(critical|warning|info)$/)
    expect(labels.owner).toMatch(/^(archive|deployment|vendor)$/)
    expect(annotations.summary.toLowerCase()).toMatch(new RegExp(`^${labels.owner}: .{10,}[^.]$`))
    expect(annotations.description).toMatch(/^.{40,}\.$/)
    expect(annotations.runbook_url).toBe(`${RUNBOOK}#${alert.toLowerCase()}`)
    const known = [
      ...ADDED,
      ...Object.keys(labels),
      ...[...expr.matchAll(SERIES)].flatMap(([, series]) => Object.keys(metricOf(series!)?.labels ?? {})),
    ]
    for (const [, label] of JSON.stringify(annotations).matchAll(/\$labels\.(\w+)/g))
      expect(known).toContain(label)
  },
)

const sections = runbook
  .split(/^## /m)
  .slice(1)
  .map((text) => text.split(/\n(.*)/s) as [string, string])

test("the runbook has a section for each alert, and for nothing else that looks like one", () => {
  const titles = sections.map(([title]) => title).filter((title) => title.startsWith("Unseal"))
  expect(titles.toSorted()).toEqual(names.toSorted())
  for (const [title, text] of sections.filter(([title]) => title.startsWith("Unseal")))
    for (const part of ["**Means.** ", "**See it.** ", "**Do.** ", "**Over** "])
      expect(text.split(`\n${part}`), `${title}: ${part}`).toHaveLength(2)
})

test("the runbook's links lead to its sections, and its metrics exist", () => {
  for (const [, anchor] of runbook.matchAll(/\]\(#([^)]+)\)/g))
    expect(names.map((name) => name.toLowerCase())).toContain(anchor)
  for (const [span] of runbook.matchAll(/`[^`\n]*\bunseal[_:][^`\n]*`/g)) {
    expect(problemsOf(span)).toEqual([])
    for (const name of span.match(/unseal:[\w:]+/g) ?? []) expect(recorded).toContain(name)
  }
})

/** The titles of the panels of each dashboard, by the dashboard's title. */
const panels = new Map(
  readdirSync(join(root, "observability/grafana/dashboards")).map((file) => {
    const text = readFileSync(join(root, "observability/grafana/dashboards", file), "utf8")
    const board = JSON.parse(text) as {
      title: string
      panels: { title: string; panels?: { title: string }[] }[]
    }
    const titles = board.panels.flatMap(({ title, panels: inner = [] }) => [
      title,
      ...inner.map((panel) => panel.title),
    ])
    return [board.title.replace("Unseal: ", ""), titles]
  }),
)

test("each section of the runbook names a panel that its dashboard has", () => {
  for (const [title, text] of sections.filter(([title]) => title.startsWith("Unseal"))) {
    const [, panel, board] = /^\*\*See it\.\*\* Panel \*([^*]+)\* \(([^)]+)\)\. /m.exec(text) ?? []
    expect(panels.get(board ?? "") ?? [], title).toContain(panel)
  }
})

/** Commands of the runbook, as words: in spans and in blocks, perhaps behind the command that runs them in a container. */
const commands = [...runbook.matchAll(/(?<=^|`|-- |cli )(unseal |queue )([^`\n]+)/gm)].map(
  ([, first, rest]) =>
    `${first === "queue " ? "queue " : ""}${rest}`
      .match(/"[^"]*"|\S+/g)!
      .map((word) => word.replace(/^"|"$/g, "")),
)

/** What `unseal … --help` lists: subcommands, and options with whether they take a value. */
async function helpOf(path: readonly string[]) {
  const { stdout } = await runCli([...path, "--help"])
  const [, listed = ""] = stdout.toString().split("\nCommands:\n")
  return {
    subcommands: [...listed.matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => name!),
    options: new Map(
      [...stdout.toString().matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)( <)?/gm)].map(([, name, value]) => [
        name!,
        value !== undefined,
      ]),
    ),
  }
}

const helps = new Map<string, ReturnType<typeof helpOf>>()
const knownHelp = (path: readonly string[]) => {
  const key = path.join(" ")
  if (!helps.has(key)) helps.set(key, helpOf(path))
  return helps.get(key)!
}

async function wrongWith(words: readonly string[]): Promise<string | null> {
  const path: string[] = []
  for (const word of words) {
    const { subcommands } = await knownHelp(path)
    if (subcommands.length === 0) break
    if (!subcommands.includes(word)) return `there is no command ${[...path, word].join(" ")}`
    path.push(word)
  }
  const { options } = await knownHelp(path)
  for (const [index, word] of words.entries()) {
    if (!word.startsWith("--")) continue
    if (!options.has(word)) return `${path.join(" ")} has no option ${word}`
    if (options.get(word) && (words[index + 1] ?? "--").startsWith("--")) return `${word} lacks a value`
  }
  return null
}

test("every command in the runbook exists, with its options", async () => {
  expect(commands.length).toBeGreaterThan(30)
  const distinct = [...new Map(commands.map((words) => [words.join(" "), words])).values()]
  const wrong: (string | null)[] = []
  for (const words of distinct) wrong.push(await wrongWith(words))
  expect(wrong.filter((problem) => problem !== null)).toEqual([])
  expect(await wrongWith(["queue", "redrive", "--kode", "ERR_STALLED"])).toBe(
    "queue redrive has no option --kode",
  )
  expect(await wrongWith(["queue", "heal"])).toBe("there is no command queue heal")
})

test("each row of the fault matrix says which alerts belong to it, and knows no others", () => {
  expect(Object.keys(EXPECTED).toSorted()).toEqual(ROWS.map(({ name }) => name).toSorted())
  for (const [row, expected] of Object.entries(EXPECTED)) {
    for (const alert of allowedIn(expected)) expect(names, row).toContain(alert)
    expect(expected.fire.length === 0, row).toBe(expected.instead !== undefined)
    expect(expected.fire.length === 0, row).toBe(expected.owner === "nobody")
    const owners = alerts
      .filter(({ alert }) => expected.fire.includes(alert))
      .map(({ labels }) => labels.owner)
    if (owners.length > 0) expect(owners, row).toContain(expected.owner)
  }
})
