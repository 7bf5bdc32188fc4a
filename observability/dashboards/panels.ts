/** Panels of the three kinds that the boards have. Each has a title, a unit, and a description that says what normal is. */
import * as common from "@grafana/grafana-foundation-sdk/common"
import {
  type DataTransformerConfig,
  type DynamicConfigValue,
  FieldColorBuilder,
  FieldColorModeId,
  MappingType,
  type Panel,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  type ValueMapping,
} from "@grafana/grafana-foundation-sdk/dashboard"
import * as prometheus from "@grafana/grafana-foundation-sdk/prometheus"
import * as stat from "@grafana/grafana-foundation-sdk/stat"
import * as table from "@grafana/grafana-foundation-sdk/table"
import * as timeseries from "@grafana/grafana-foundation-sdk/timeseries"
import { BytesPerSecondSI, BytesSI, PercentUnit, Seconds, Short } from "@grafana/grafana-foundation-sdk/units"
import { RUNBOOK } from "../rules/rules.ts"

const UNITS = {
  count: Short,
  "per second": "cps",
  "per minute": "cpm",
  seconds: Seconds,
  bytes: BytesSI,
  "bytes per second": BytesPerSecondSI,
  /** 0 to 1, shown as percent. */
  share: PercentUnit,
} as const

export const GREEN = "green"
export const YELLOW = "orange"
export const RED = "red"
export const BLUE = "blue"
export const PURPLE = "purple"

/** A query, and the name of its series, in which `{{label}}` stands for a label's value. */
export type Query = readonly [legend: string, expression: string]

/** What every panel has. */
interface Wish {
  readonly title: string
  /** What one sees on a good day. */
  readonly normal: string
  /** What to do if it looks otherwise. */
  readonly otherwise: string
  /** The alerts whose sections of docs/runbook.md say more. */
  readonly runbook?: readonly string[]
  readonly unit: keyof typeof UNITS
  /** Of 24 columns. */
  readonly width: number
  readonly height?: number
  readonly queries: readonly Query[]
  /** The uid of the board that shows more. */
  readonly more?: string
}

/** From where on a value is a warning, or bad. Above it or below it. */
export interface Limits {
  readonly warn?: number
  readonly bad?: number
  readonly side: "above" | "below"
}

const DATASOURCE = { type: "prometheus", uid: "$datasource" }

const descriptionOf = ({ normal, otherwise, runbook = [], more }: Wish): string =>
  [
    `**Normal:** ${normal}`,
    `**Otherwise:** ${otherwise}`,
    ...runbook.map((alert) => `Runbook: \`${RUNBOOK}#${alert.toLowerCase()}\``),
    ...(more ? [`[More on its own board](/d/${more}?\${__url_time_range}&\${__all_variables})`] : []),
  ].join("\n\n")

const limitsOf = (limits: Limits | undefined, base = GREEN): ThresholdsConfigBuilder => {
  const { warn, bad, side } = limits ?? { side: "above" }
  const steps =
    side === "above"
      ? [
          { value: null, color: base },
          ...(warn === undefined ? [] : [{ value: warn, color: YELLOW }]),
          ...(bad === undefined ? [] : [{ value: bad, color: RED }]),
        ]
      : [
          { value: null, color: bad === undefined ? YELLOW : RED },
          ...(bad === undefined || warn === undefined ? [] : [{ value: bad, color: YELLOW }]),
          { value: (warn ?? bad)!, color: base },
        ]
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps)
}

const target = ([legend, expression]: Query, index: number) =>
  new prometheus.DataqueryBuilder()
    .refId(String.fromCharCode(65 + index))
    .datasource(DATASOURCE)
    .expr(expression)
    .legendFormat(legend)

/** One big number, or a few. It shows the newest value, over a faint line of the last hours unless `line` is false. */
export function number(
  wish: Wish & {
    readonly limits?: Limits
    /** What to show if there is no value. */
    readonly none?: string
    readonly line?: boolean
    /** Words for values. */
    readonly words?: Readonly<Record<string, readonly [text: string, color: string]>>
    readonly decimals?: number
  },
): Panel {
  const { title, unit, width, height = 4, queries, limits, none, line = true, words, decimals } = wish
  const builder = new stat.PanelBuilder()
    .title(title)
    .description(descriptionOf(wish))
    .datasource(DATASOURCE)
    .unit(UNITS[unit])
    .span(width)
    .height(height)
    .targets(queries.map((query, index) => withRange(target(query, index), line)))
    .thresholds(limitsOf(limits, limits === undefined ? BLUE : GREEN))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .colorMode(limits === undefined ? common.BigValueColorMode.Value : common.BigValueColorMode.Background)
    .graphMode(line ? common.BigValueGraphMode.Area : common.BigValueGraphMode.None)
    .textMode(queries.length > 1 ? common.BigValueTextMode.ValueAndName : common.BigValueTextMode.Value)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .noValue(none ?? "no data")
  if (words !== undefined) builder.mappings([wordsFor(words)])
  if (decimals !== undefined) builder.decimals(decimals)
  return builder.build()
}

const withRange = (query: prometheus.DataqueryBuilder, range: boolean) =>
  range ? query.range() : query.instant()

const wordsFor = (
  words: Readonly<Record<string, readonly [text: string, color?: string]>>,
): ValueMapping => ({
  type: MappingType.ValueToText,
  options: Object.fromEntries(
    Object.entries(words).map(([value, [text, color]], index) => [
      value,
      { text, index, ...(color && { color }) },
    ]),
  ),
})

/** Lines over time. */
export function graph(
  wish: Wish & {
    readonly limits?: Limits
    /** Areas on top of each other. */
    readonly stacked?: boolean
    readonly max?: number
    /** Colors of series, by their whole name. */
    readonly colors?: Readonly<Record<string, string>>
    /** Logarithmic, for what spans milliseconds to hours. */
    readonly logarithmic?: boolean
  },
): Panel {
  const { title, unit, width, height = 8, queries, limits, stacked = false, max, colors, logarithmic } = wish
  const builder = new timeseries.PanelBuilder()
    .title(title)
    .description(descriptionOf(wish))
    .datasource(DATASOURCE)
    .unit(UNITS[unit])
    .span(width)
    .height(height)
    .min(0)
    .targets(queries.map((query, index) => target(query, index).range()))
    .lineWidth(2)
    .fillOpacity(stacked ? 35 : 8)
    .showPoints(common.VisibilityMode.Never)
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .showLegend(true)
        .calcs([]),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder()
        .mode(common.TooltipDisplayMode.Multi)
        .sort(common.SortOrder.Descending),
    )
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassicByName))
    .thresholds(limitsOf(limits))
    .thresholdsStyle(
      new common.GraphThresholdsStyleConfigBuilder().mode(
        limits === undefined ? common.GraphThresholdsStyleMode.Off : common.GraphThresholdsStyleMode.Dashed,
      ),
    )
  if (stacked)
    builder.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal).group("A"))
  if (max !== undefined) builder.max(max)
  if (logarithmic)
    builder.scaleDistribution(
      new common.ScaleDistributionConfigBuilder().type(common.ScaleDistribution.Log).log(10),
    )
  for (const [name, color] of Object.entries(colors ?? {}))
    builder.overrideByName(name, [{ id: "color", value: { mode: "fixed", fixedColor: color } }])
  return builder.build()
}

/** A column of a table, from a label, or from the value (`Value`). */
export interface Column {
  readonly title: string
  readonly unit?: keyof typeof UNITS
  readonly limits?: Limits
  /** Words for the label's values. */
  readonly words?: Readonly<Record<string, string>>
  /** Pixels. Without it, it gets what is left. */
  readonly width?: number
  /** The uid of the board that a click opens, and its variable that gets the cell's value. */
  readonly opens?: readonly [uid: string, variable: string]
}

/** Rows, one for each series that there is now, those with the greatest value first. */
export function list(
  wish: Wish & {
    /** In their order. Labels that are not named are not shown. */
    readonly columns: Readonly<Record<string, Column>>
    readonly none: string
    /** The smallest value first. */
    readonly ascending?: boolean
  },
): Panel {
  const { title, unit, width, height = 8, queries, columns, none, ascending = false } = wish
  const order: DataTransformerConfig = {
    id: "organize",
    options: {
      indexByName: Object.fromEntries(Object.keys(columns).map((name, index) => [name, index])),
      renameByName: Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, column.title])),
    },
  }
  const builder = new table.PanelBuilder()
    .title(title)
    .description(descriptionOf(wish))
    .datasource(DATASOURCE)
    .unit(UNITS[unit])
    .span(width)
    .height(height)
    .targets(
      queries.map((query, index) => target(query, index).instant().format(prometheus.PromQueryFormat.Table)),
    )
    .transformations([
      ...(queries.length > 1 ? [{ id: "merge", options: {} }] : []),
      { id: "filterFieldsByName", options: { include: { names: Object.keys(columns) } } },
      order,
    ])
    .noValue(none)
  const sorted = columns.Value ?? columns["Value #A"]
  if (sorted !== undefined)
    builder.sortBy([new common.TableSortByFieldStateBuilder().displayName(sorted.title).desc(!ascending)])
  for (const column of Object.values(columns)) builder.overrideByName(column.title, propertiesOf(column))
  return builder.build()
}

function propertiesOf({ unit, limits, words, width, opens }: Column): DynamicConfigValue[] {
  return [
    ...(unit ? [{ id: "unit", value: UNITS[unit] }] : []),
    ...(width ? [{ id: "custom.width", value: width }] : []),
    ...(limits
      ? [
          { id: "thresholds", value: limitsOf(limits).build() },
          { id: "custom.cellOptions", value: { type: "color-text" } },
        ]
      : []),
    ...(words
      ? [
          {
            id: "mappings",
            value: [
              wordsFor(Object.fromEntries(Object.entries(words).map(([value, text]) => [value, [text]]))),
            ],
          },
          { id: "custom.cellOptions", value: { type: "auto", wrapText: true } },
        ]
      : []),
    ...(opens
      ? [
          {
            id: "links",
            value: [
              {
                title: "Open its board",
                url: `/d/${opens[0]}?var-${opens[1]}=\${__value.raw}&\${__url_time_range}&\${datasource:queryparam}`,
              },
            ],
          },
        ]
      : []),
  ]
}
