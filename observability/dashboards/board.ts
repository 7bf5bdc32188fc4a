/** A board: its panels in rows, the variables that it has, and links to the others. */
import {
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  type Panel,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
  VariableSort,
} from "@grafana/grafana-foundation-sdk/dashboard"

/** Grafana's grid. */
const COLUMNS = 24
const TAG = "unseal"

/** The uids of all boards, by which they link to each other. */
export const UID = {
  overview: "unseal-overview",
  ingest: "unseal-ingest",
  worker: "unseal-worker",
  queue: "unseal-queue",
  dependencies: "unseal-dependencies",
  project: "unseal-project",
} as const

/** A variable whose values are those of a label of a metric. */
export interface Choice {
  readonly name: string
  readonly title: string
  /** The metric and its label. */
  readonly from: readonly [metric: string, label: string]
  /** Whether several values, and all of them, can be chosen. */
  readonly several: boolean
}

export interface BoardWish {
  readonly uid: (typeof UID)[keyof typeof UID]
  readonly title: string
  readonly description: string
  readonly choices?: readonly Choice[]
  readonly rows: readonly { readonly title: string; readonly panels: readonly Panel[] }[]
}

const NAMESPACE: Choice = {
  name: "namespace",
  title: "Namespace",
  from: ["unseal_build_info", "namespace"],
  several: true,
}

function variable({ name, title, from: [metric, label], several }: Choice) {
  const scope = name === NAMESPACE.name ? "" : `{namespace=~"$namespace"}`
  const builder = new QueryVariableBuilder(name)
    .label(title)
    .datasource({ type: "prometheus", uid: "$datasource" })
    .query({ query: `label_values(${metric}${scope}, ${label})`, refId: name })
    .definition(`label_values(${metric}${scope}, ${label})`)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.NaturalAsc)
    .multi(several)
    .includeAll(several)
  // A label that is missing fits ".*", too: a Prometheus outside Kubernetes adds no namespace.
  return several ? builder.allValue(".*").current({ text: "All", value: "$__all" }) : builder
}

/** Puts the panels of each row side by side, as many as fit, and gives each a number. */
export function board({ uid, title, description, choices = [], rows }: BoardWish): Dashboard {
  const builder = new DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags([TAG])
    .timezone("browser")
    .editable()
    .tooltip(DashboardCursorSync.Crosshair)
    .time({ from: "now-6h", to: "now" })
    .refresh("30s")
    .variables([
      new DatasourceVariableBuilder("datasource").label("Prometheus").type("prometheus"),
      ...[NAMESPACE, ...choices].map(variable),
    ])
    .link(
      new DashboardLinkBuilder("Boards")
        .type(DashboardLinkType.Dashboards)
        .tags([TAG])
        .includeVars(true)
        .keepTime(true),
    )
    .annotations([])
  let y = 0
  let id = 1
  for (const row of rows) {
    builder.withRow(new RowBuilder(row.title).id(id++).gridPos({ x: 0, y, w: COLUMNS, h: 1 }))
    y++
    let x = 0
    let height = 0
    for (const panel of row.panels) {
      const { w, h } = panel.gridPos!
      if (x + w > COLUMNS) {
        x = 0
        y += height
        height = 0
      }
      const placed = { ...panel, id: id++, gridPos: { x, y, w, h } }
      builder.withPanel({ build: () => placed })
      x += w
      height = Math.max(height, h)
    }
    y += height
  }
  return builder.build()
}
