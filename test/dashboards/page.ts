/**
 * A board as a page, drawn from the results of its queries. It shows what Grafana would: the grid, titles, values, words, colors
 * and limits. It is no Grafana, and does not prove that Grafana draws the same.
 */
import type { Series } from "../harness/prometheus.ts"
import { chart, type Line } from "./chart.ts"
import type { Board, Panel, Step, ValueMap } from "./files.ts"
import { written } from "./units.ts"

/** The results of a board's queries, by panel and target: over the whole time, or at its end for an instant query. */
export type Results = ReadonlyMap<string, readonly Series[]>
export const resultKey = (panel: Panel, refId: string): string => `${panel.id}${refId}`

export interface Time {
  /** Seconds since 1970. */
  readonly from: number
  readonly until: number
}

const COLUMN = 60
const ROW = 38
const NAMED: Readonly<Record<string, string>> = {
  ...{
    green: "#56a64b",
    orange: "#e07b00",
    red: "#d10e3d",
    blue: "#3274d9",
    purple: "#8f3bb8",
    text: "#ccccdc",
  },
}
const PALETTE = [
  "#7eb26d",
  "#eab839",
  "#6ed0e0",
  "#ef843c",
  "#e24d42",
  "#1f78c1",
  "#ba43a9",
  "#705da0",
  "#508642",
  "#cca300",
]

const escaped = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;")
const colorOf = (name: string) => NAMED[name] ?? name

const stepFor = (value: number, steps: readonly Step[]): string =>
  colorOf(steps.findLast((step) => step.value === null || value >= step.value)?.color ?? "text")

const legendOf = (template: string, labels: Series["labels"]): string =>
  template.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => labels[label] ?? "")

const wordFor = (value: string, mappings: readonly ValueMap[] = []) =>
  mappings.map(({ options }) => options[value]).find((word) => word !== undefined)

const lastOf = ({ points }: Series): number =>
  points.findLast(([, value]) => Number.isFinite(value))?.[1] ?? Number.NaN

const named = (panel: Panel, results: Results) =>
  (panel.targets ?? []).flatMap(({ refId, legendFormat }) =>
    (results.get(resultKey(panel, refId)) ?? []).map((series) => ({
      ...series,
      name: legendOf(legendFormat, series.labels),
    })),
  )

function stat(panel: Panel, results: Results, width: number, height: number, time: Time): string {
  const { defaults } = panel.fieldConfig!
  const all = named(panel, results).filter((series) => Number.isFinite(lastOf(series)))
  if (all.length === 0) return `<div class="big none">${escaped(defaults.noValue ?? "no data")}</div>`
  const cells = all.map((series) => {
    const value = lastOf(series)
    const word = wordFor(String(value), defaults.mappings)
    const color = word?.color ? colorOf(word.color) : stepFor(value, defaults.thresholds?.steps ?? [])
    const text = word?.text ?? written(value, defaults.unit!, defaults.decimals)
    const isFilled = panel.options.colorMode === "background"
    const line =
      panel.options.graphMode === "area"
        ? sparkline(series, width, height / 2, isFilled ? "#ffffff" : color, time)
        : ""
    return `<div class="big" style="${isFilled ? `background:${color};color:#fff` : `color:${color}`}"><span>${escaped(text)}</span>${line}</div>`
  })
  return cells.join("")
}

function sparkline({ points }: Series, width: number, height: number, color: string, { from, until }: Time) {
  const seen = points.filter(([, value]) => Number.isFinite(value))
  const most = Math.max(...seen.map(([, value]) => value), 1e-9)
  const path = seen.map(
    ([at, value]) =>
      `${(((at - from) / (until - from)) * width).toFixed(1)},${(height - 2 - (value / most) * (height - 6)).toFixed(1)}`,
  )
  return `<svg class="spark" width="${width}" height="${height}"><polyline points="${path.join(" ")}" fill="none" stroke="${color}" stroke-opacity="0.55" stroke-width="1.5"/></svg>`
}

function graph(panel: Panel, results: Results, width: number, height: number, time: Time): string {
  const { defaults, overrides } = panel.fieldConfig!
  const all = named(panel, results)
  if (!all.some(({ points }) => points.some(([, value]) => Number.isFinite(value))))
    return '<div class="empty">No data</div>'
  const fixed = new Map(
    overrides.flatMap(({ matcher, properties }) =>
      properties
        .filter(({ id }) => id === "color")
        .map(({ value }) => [matcher.options, value.fixedColor] as const),
    ),
  )
  const lines = all.map(
    (series, index): Line => ({
      ...series,
      color: colorOf(fixed.get(series.name) ?? PALETTE[index % PALETTE.length]!),
    }),
  )
  const legend = lines
    .map(({ name, color }) => `<span><i style="background:${color}"></i>${escaped(name)}</span>`)
    .join("")
  const { custom, unit, max, thresholds } = defaults
  const drawn = chart(lines, {
    ...time,
    width,
    height: height - 20,
    unit: unit!,
    max,
    stacked: custom.stacking?.mode === "normal",
    logarithmic: custom.scaleDistribution?.type === "log",
    steps:
      custom.thresholdsStyle?.mode === "dashed"
        ? (thresholds?.steps ?? []).map((step) => ({ ...step, color: colorOf(step.color) }))
        : [],
  })
  return `${drawn}<div class="legend">${legend}</div>`
}

function table(panel: Panel, results: Results): string {
  const organized = panel.transformations!.find(({ id }) => id === "organize")!.options
  const columns = Object.entries(organized.renameByName!).toSorted(
    ([a], [b]) => organized.indexByName![a]! - organized.indexByName![b]!,
  )
  const several = panel.targets!.length > 1
  const rows = new Map<string, Record<string, string>>()
  for (const { refId } of panel.targets!)
    for (const series of results.get(resultKey(panel, refId)) ?? []) {
      const value = lastOf(series)
      if (!Number.isFinite(value)) continue
      const key = JSON.stringify(series.labels)
      rows.set(key, {
        ...series.labels,
        ...rows.get(key),
        [several ? `Value #${refId}` : "Value"]: String(value),
      })
    }
  if (rows.size === 0)
    return `<div class="empty">${escaped(panel.fieldConfig!.defaults.noValue ?? "No data")}</div>`
  const properties = (title: string) =>
    Object.fromEntries(
      panel
        .fieldConfig!.overrides.filter(({ matcher }) => matcher.options === title)
        .flatMap((override) => override.properties.map(({ id, value }) => [id, value])),
    )
  const cell = (name: string, title: string, row: Record<string, string>) => {
    const its = properties(title)
    const value = row[name] ?? ""
    const text =
      wordFor(value, its.mappings)?.text ??
      (name.startsWith("Value") && value !== "" ? written(Number(value), its.unit ?? "short") : value)
    const color = its.thresholds ? stepFor(Number(value), its.thresholds.steps) : "inherit"
    return `<td style="color:${color}">${escaped(text)}</td>`
  }
  const head = (title: string) => {
    const width = properties(title)["custom.width"]
    return `<th${width === undefined ? "" : ` style="width:${width}px"`}>${escaped(title)}</th>`
  }
  const first = columns.find(([name]) => name.startsWith("Value"))?.[0] ?? ""
  const sign = panel.options.sortBy?.[0]?.desc === false ? 1 : -1
  const sorted = [...rows.values()].toSorted((a, b) => sign * (Number(a[first]) - Number(b[first])))
  return `<table><tr>${columns.map(([, title]) => head(title)).join("")}</tr>${sorted
    .map((row) => `<tr>${columns.map(([name, title]) => cell(name, title, row)).join("")}</tr>`)
    .join("")}</table>`
}

const STYLE = `*{box-sizing:border-box}body{margin:0;background:#111217;color:#ccccdc;font:12px Inter,"DejaVu Sans",sans-serif}
.panel,.row{position:absolute}.row{font-size:15px;font-weight:600;padding:9px 8px}
.panel>div.box{position:absolute;inset:3px;background:#181b1f;border:1px solid #25272c;border-radius:3px;overflow:hidden}
h3{margin:0;padding:5px 8px 3px;font-size:12.5px;font-weight:600;height:26px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.big{position:relative;height:calc(100% - 26px);display:flex;align-items:center;justify-content:center;font-size:30px;font-weight:600;overflow:hidden}
.big span{z-index:1}.spark{position:absolute;left:0;bottom:0}.none{color:#8e8e9b;font-size:20px}.empty{padding:22px;text-align:center;color:#8e8e9b;font-size:14px}
text{fill:#9fa7b3;font-size:11px}.legend{padding:0 8px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}.legend span{margin-right:12px}.legend i{display:inline-block;width:12px;height:4px;margin:0 5px 3px 0;border-radius:2px}
table{width:100%;border-collapse:collapse;table-layout:fixed}th{text-align:left;color:#6e9fff;font-weight:500;padding:4px 8px;border-bottom:1px solid #2c3235}td{padding:4px 8px;border-bottom:1px solid #22252b;vertical-align:top;overflow:hidden;text-overflow:ellipsis}
header{padding:12px;font-size:20px;font-weight:600}header small{font-size:13px;font-weight:400;color:#9fa7b3;margin-left:10px}`

/** The page, and its size in pixels. */
export function pageOf(
  board: Board,
  results: Results,
  time: Time,
): { html: string; width: number; height: number } {
  const top = 50
  const panels = board.panels.map((panel) => {
    const { x, y, w, h } = panel.gridPos
    const place = `left:${x * COLUMN}px;top:${top + y * ROW}px;width:${w * COLUMN}px;height:${h * ROW}px`
    if (panel.type === "row") return `<div class="row" style="${place}">⌄ ${escaped(panel.title)}</div>`
    const [width, height] = [w * COLUMN - 10, h * ROW - 36]
    const draw = { stat, timeseries: graph, table }[panel.type]
    return `<div class="panel" style="${place}"><div class="box"><h3>${escaped(panel.title)}</h3>${draw(panel, results, width, height, time)}</div></div>`
  })
  const height = top + ROW * Math.max(...board.panels.map(({ gridPos }) => gridPos.y + gridPos.h)) + 10
  const html = `<!doctype html><meta charset="utf-8"><title>${escaped(board.title)}</title><style>${STYLE}</style><header>${escaped(board.title)}<small>${escaped(board.description)}</small></header>${panels.join("\n")}`
  return { html, width: 24 * COLUMN, height }
}
