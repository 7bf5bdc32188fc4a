/** A chapter's results as Markdown, for the terminal and for docs/performance.md, between the chapter's markers. */
import { readFileSync, writeFileSync } from "node:fs"
import type { Standing } from "./contest.ts"
import { show, spreadOf } from "./statistics.ts"

export interface Target {
  readonly claim: string
  readonly measured: string
  readonly reached: boolean
}

export interface Section {
  /** The conditions of the measurement. */
  readonly conditions: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
  readonly targets?: readonly Target[]
  /** Names and settings of the contenders. */
  readonly settings: readonly (readonly [name: string, settings: string])[]
  /** Wrong outputs and exit codes. */
  readonly failures: readonly string[]
}

export function toMarkdown({ conditions, columns, rows, targets = [], settings, failures }: Section): string {
  // A `|` ends a cell even inside code.
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`
  const alignment = columns.map((_, index) => (index === 0 ? "---" : "--:"))
  return [
    conditions,
    "",
    line(columns),
    line(alignment),
    ...rows.map(line),
    ...(targets.length > 0 ? ["", line(["target", "measured", ""]), "|---|--:|---|"] : []),
    ...targets.map(({ claim, measured, reached }) =>
      line([claim, measured, reached ? "reached" : "**missed**"]),
    ),
    "",
    ...settings.map(([name, text]) => `- ${name}: ${text}`),
    ...failures.map((failure) => `- **FAILED** ${failure}`),
  ].join("\n")
}

const MIB = 1024 * 1024

export const mebibytes = (bytes: number): string => {
  const mib = bytes / MIB
  return mib >= 1024 && mib % 512 === 0 ? `${mib / 1024} GiB` : `${Math.round(mib)} MiB`
}

/** Megabytes (of 10⁶ bytes) per second, CPU seconds per GiB, and peak memory of one contender. */
export function costColumns({ costs }: Standing, bytes: number): string[] {
  if (costs.length === 0) return ["failed", "", ""]
  return [
    show(spreadOf(costs.map(({ seconds }) => bytes / 1e6 / seconds)), 0),
    show(spreadOf(costs.map(({ cpuSeconds }) => cpuSeconds / (bytes / 1024 ** 3))), 2),
    show(spreadOf(costs.map(({ peakRssBytes }) => peakRssBytes / MIB)), 0),
  ]
}

export const COST_COLUMNS = ["MB/s", "CPU-s/GiB", "peak RSS MiB"]

export const settingsOf = (standings: readonly Standing[]) =>
  standings.map(({ contender }) => [contender.name, contender.settings] as const)

export const failuresOf = (standings: readonly Standing[]): string[] =>
  standings.flatMap(({ contender, failure }) =>
    failure === undefined ? [] : [`${contender.name}: ${failure}`],
  )

const marker = (name: string) => [`<!-- bench:${name} -->`, `<!-- /bench:${name} -->`] as const

/** Replaces the text between the markers of chapter `name` in the Markdown file `path`. */
export function writeSection(path: string, name: string, markdown: string): void {
  const text = readFileSync(path, "utf8")
  const [opening, closing] = marker(name)
  const [start, end] = [text.indexOf(opening), text.indexOf(closing)]
  if (start < 0 || end < start) throw new Error(`${path} has no markers ${opening} … ${closing}`)
  writeFileSync(path, `${text.slice(0, start + opening.length)}\n${markdown}\n${text.slice(end)}`)
}
