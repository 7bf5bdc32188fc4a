/** The boards as Grafana gets them: the JSON files, not the code that writes them. */
import { readdirSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"

const FOLDER = resolve(import.meta.dirname, "../../observability/grafana/dashboards")

export interface Target {
  readonly refId: string
  readonly expr: string
  readonly legendFormat: string
  readonly instant?: boolean
  readonly range?: boolean
}

export interface Panel {
  readonly id: number
  readonly type: "stat" | "timeseries" | "table" | "row"
  readonly title: string
  readonly description?: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly Target[]
  readonly transformations?: readonly { readonly id: string; readonly options: Organized }[]
  readonly fieldConfig?: FieldConfig
  // biome-ignore lint/suspicious/noExplicitAny: options differ by kind, and only pictures look into them
  readonly options?: any
}

/** Of the transformation `organize`. */
export interface Organized {
  readonly indexByName?: Readonly<Record<string, number>>
  readonly renameByName?: Readonly<Record<string, string>>
}

export interface Step {
  readonly value: number | null
  readonly color: string
}

export interface FieldConfig {
  readonly defaults: {
    readonly unit?: string
    readonly decimals?: number
    readonly noValue?: string
    readonly max?: number
    readonly thresholds?: { readonly steps: readonly Step[] }
    readonly mappings?: readonly ValueMap[]
    // biome-ignore lint/suspicious/noExplicitAny: as above
    readonly custom?: any
  }
  readonly overrides: readonly {
    readonly matcher: { readonly id: string; readonly options: string }
    // biome-ignore lint/suspicious/noExplicitAny: as above
    readonly properties: readonly { readonly id: string; readonly value: any }[]
  }[]
}

export interface ValueMap {
  readonly type: "value"
  readonly options: Readonly<Record<string, { readonly text: string; readonly color?: string }>>
}

export interface Board {
  readonly uid: string
  readonly title: string
  readonly description: string
  readonly tags: readonly string[]
  readonly schemaVersion: number
  readonly panels: readonly Panel[]
  readonly links: readonly { readonly type: string; readonly tags: readonly string[] }[]
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly definition?: string }[]
  }
}

/** All boards, by the name of their file. */
export function readBoards(): ReadonlyMap<string, Board> {
  const names = readdirSync(FOLDER).toSorted()
  return new Map(names.map((name) => [name, JSON.parse(readFileSync(join(FOLDER, name), "utf8"))]))
}

/** The panels that show something. */
export const shownIn = ({ panels }: Board): readonly Panel[] => panels.filter(({ type }) => type !== "row")
