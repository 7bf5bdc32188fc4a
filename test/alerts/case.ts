/** What a unit test of an alert consists of. */
import { type Course, onWorker } from "./series.ts"

export { grows, onWorker, stays } from "./series.ts"

/** An alert as it fires, without its namespace. */
export interface Said {
  readonly alert: string
  readonly severity: "critical" | "warning" | "info"
  readonly owner: "archive" | "deployment" | "vendor"
  /** The other labels. */
  readonly labels: Readonly<Record<string, string>>
  readonly summary: string
  readonly description: string
}

export interface Case extends Said {
  /** By part of the name of a healthy series, or the whole name of another: just below the limit, and beyond it. */
  readonly series: Readonly<Record<string, readonly [below: Course, beyond: Course]>>
  /** What fires with it, for the same reason. */
  readonly also?: readonly Said[]
  /** The labels of what fires just below the limit already: rules of this alert with lower limits. */
  readonly firesBelow?: readonly Readonly<Record<string, string>>[]
}

/** What must never fire anything, in any phase. */
export interface Quiet {
  readonly quiet: string
  readonly series: Case["series"]
}

/** Cases with the same phases: healthy, below the limit, beyond it, and healthy again. Times are in minutes. */
export interface Timeline {
  readonly name: string
  readonly step: number
  readonly phases: readonly [healthy: number, below: number, beyond: number, again: number]
  readonly cases: readonly Case[]
  readonly quiet?: readonly Quiet[]
  /** Whether a healthy deployment runs beside them, so that nothing counts as absent. */
  readonly besideHealthy?: boolean
}

export const DAY_SECONDS = 86_400
export const PROJECT = { project: "123456" }
/** Labels of a series on the first worker. */
export const WORKER = { job: "worker", instance: onWorker.instance }
