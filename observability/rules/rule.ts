/**
 * The shapes of rules, and how their times are written. Where there are namespaces, an expression holds for each of them by
 * itself.
 */

/** `critical`: somebody gets up. `warning`: somebody looks today. `info`: it explains something else. */
export type Severity = "critical" | "warning" | "info"

/** Whose trouble it is: that of an archive (and of whoever made it), of this deployment, or of the vendor. */
export type Owner = "archive" | "deployment" | "vendor"

export interface Alert {
  readonly alert: `Unseal${string}`
  readonly severity: Severity
  readonly owner: Owner
  /** More labels, for rules of one alert that would be alike. */
  readonly labels?: Readonly<Record<string, string>>
  readonly expr: string
  /** How long `expr` must hold, as Prometheus writes it. */
  readonly for: string
  /** One line; `createRules` puts the owner in front. */
  readonly summary: string
  /** What is wrong, with the numbers, and the first thing to look at. */
  readonly description: string
}

export interface Recording {
  readonly record: string
  readonly expr: string
}

export interface Group {
  readonly name: string
  readonly rules: readonly (Alert | Recording)[]
}

/** Writes times. The tests have faster clocks; nothing else does. */
export interface Clock {
  /** A time as a range or as `for`: `5m`. */
  span(seconds: number): string
  /** A time as a number of seconds to compare with. */
  seconds(seconds: number): number
}

export const MINUTE = 60
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR
export const WEEK = 7 * DAY

const UNITS = [
  [DAY * 1_000, "d"],
  [HOUR * 1_000, "h"],
  [MINUTE * 1_000, "m"],
  [1_000, "s"],
  [1, "ms"],
] as const

/** A clock on which everything happens `faster` times as fast. */
export function createClock(faster: number): Clock {
  return {
    span(seconds) {
      const ms = Math.round((seconds * 1_000) / faster)
      const [unit, name] = UNITS.find(([size]) => ms % size === 0)!
      return `${ms / unit}${name}`
    },
    seconds: (seconds) => seconds / faster,
  }
}

/** `aggregate` of `expr` in each namespace, and for each value of `labels`. */
export const by = (aggregate: "sum" | "max" | "min", expr: string, ...labels: readonly string[]): string =>
  `${aggregate} by (${["namespace", ...labels].join(", ")}) (${expr})`

/**
 * How much a counter has risen within `range`. A process may count before it is scraped for the first time, and `increase` does
 * not see that. So a series that is younger than `range` counts with its whole value.
 */
export const risen = (counter: string, range: string): string =>
  `(${counter} unless ${counter} offset ${range}) or increase(${counter}[${range}])`

/** Callbacks by how they ended. The senders of all other callbacks had no right to an answer, or left without one. */
export const TAKEN = "enqueued|duplicate|ignored"
export const REFUSED = "unavailable|failed|clock|draining"

/** The project in a text. With `UNSEAL_METRICS_PROJECT_LABEL=0`, no series has one. */
export const THE_PROJECT = "{{ with $labels.project }}project {{ . }}{{ else }}a project{{ end }}"
