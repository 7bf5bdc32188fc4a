/** What a process shows at `/metrics`, compared with docs/metrics.md. */
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { expect } from "vitest"

const DOCS = resolve(import.meta.dirname, "../../docs")

export interface Exposed {
  readonly type: string
  readonly help: string
  /** Of every series, without those that a histogram makes itself. */
  readonly labels: readonly Readonly<Record<string, string>>[]
}

/** The rows of the tables in a document whose first cell is code. */
export const rowsOf = (document: string): string[][] =>
  readFileSync(join(DOCS, document), "utf8")
    .split("\n")
    .map((line) => line.replace(/<a id="\w+"><\/a>/, ""))
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.split(" | ").map((cell) => cell.replace(/^\| | \|$/g, "")))

export const codeIn = (cell = ""): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, text]) => text!)

/** The metrics in `text`, in Prometheus' form. */
export function exposedIn(text: string): ReadonlyMap<string, Exposed> {
  const found = new Map<string, Exposed & { labels: Record<string, string>[] }>()
  for (const [, name, help] of text.matchAll(/^# HELP (\w+) (.*)$/gm))
    found.set(name!, {
      help: help!,
      type: new RegExp(`^# TYPE ${name} (\\w+)$`, "m").exec(text)?.[1] ?? "",
      labels: [],
    })
  for (const [, series, labels = ""] of text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const name = found.has(series!) ? series! : series!.replace(/_(bucket|sum|count)$/, "")
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key!, value!] as const)
    found.get(name)!.labels.push(Object.fromEntries(pairs.filter(([key]) => key !== "le")))
  }
  return found
}

/** Compares each series with its row in docs/metrics.md, and returns how many with labels there were. */
export function compareWithDocument(
  exposed: ReadonlyMap<string, Exposed>,
  rows: readonly (readonly string[])[],
): number {
  let withLabels = 0
  for (const [cell, , type, , labels, , meaning] of rows) {
    const [name] = codeIn(cell)
    const metric = exposed.get(name!)!
    expect([metric.type, metric.help], name).toEqual([type, meaning])
    const sets = (labels === "–" ? [] : labels!.split("; ")).map((set) => {
      const [label, values] = set.split(/: (.*)/)
      return [codeIn(label)[0]!, values!] as const
    })
    for (const series of metric.labels) {
      expect(Object.keys(series).toSorted(), name).toEqual(sets.map(([label]) => label).toSorted())
      for (const [label, values] of sets) {
        // Sets that are written out; of the others, error codes have a table of their own.
        if (values.startsWith("`")) expect(codeIn(values), `${name}{${label}}`).toContain(series[label])
        else if (values.startsWith("an [error code]"))
          expect([...ERROR_ROWS, ...(values.includes("`none`") ? ["none"] : [])]).toContain(series[label])
      }
      if (sets.length > 0) withLabels++
    }
  }
  return withLabels
}

const ERROR_ROWS = rowsOf("errors.md").flatMap(([code]) => codeIn(code))
