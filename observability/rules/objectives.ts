/** The two objectives, and alerts on how fast their error budgets burn. */
import {
  type Alert,
  type Clock,
  DAY,
  type Group,
  HOUR,
  MINUTE,
  REFUSED,
  type Recording,
  TAKEN,
} from "./rule.ts"

interface Objective {
  /** Part of the recorded names: `unseal:NAME:ratio_rate5m`. */
  readonly name: string
  /** The share that may be missed. */
  readonly budget: number
  /** Misses and all, as rates over `range`. Both have a series for each namespace. */
  readonly missed: (range: string) => string
  readonly all: (range: string) => string
  readonly alert: Alert["alert"]
  readonly owner: Alert["owner"]
  readonly summary: string
  /** What was missed, for "10% of …". */
  readonly missing: string
  readonly look: string
}

const rate = (selector: string, range: string) => `sum by (namespace) (rate(${selector}[${range}]))`

/** Prometheus 3 writes a whole bound as a decimal number, and earlier ones as it is. */
const upTo = (bound: number) => `le=~"${bound}(\\\\.0)?"`

/** The bound of ingest for each answer. */
const ANSWER_SECONDS = "2.5"

export const OBJECTIVES: readonly Objective[] = [
  {
    name: "callbacks_unacknowledged",
    budget: 0.001,
    all: (range) => rate(`unseal_callback_seconds_count{outcome=~"${TAKEN}|${REFUSED}"}`, range),
    missed: (range) =>
      `${rate(`unseal_callback_seconds_count{outcome=~"${TAKEN}|${REFUSED}"}`, range)} - ${rate(`unseal_callback_seconds_bucket{outcome=~"${TAKEN}",le="${ANSWER_SECONDS}"}`, range)}`,
    alert: "UnsealCallbackObjective",
    owner: "deployment",
    summary: "callbacks are not acknowledged in time",
    missing: `callbacks were refused, or answered after more than ${ANSWER_SECONDS} s`,
    look: "Look at Redis first: ingest answers when Redis has the job.",
  },
  {
    name: "archives_late",
    budget: 0.01,
    all: (range) => rate("unseal_archive_end_to_end_seconds_count", range),
    missed: (range) =>
      `${rate("unseal_archive_end_to_end_seconds_count", range)} - ${rate(`unseal_archive_end_to_end_seconds_bucket{outcome=~"committed|empty",${upTo(3600)}}`, range)}`,
    alert: "UnsealArchiveObjective",
    owner: "deployment",
    summary: "archives are not decrypted in time",
    missing: "archives took more than an hour, or became dead letters",
    look: "Other alerts name the cause: dead letters, suspensions, a long wait, full workers.",
  },
]

/** How fast the budget burns, over a long window and a short one. At 1 the budget lasts for exactly its thirty days. */
const BURNS = [
  { factor: 14.4, long: HOUR, short: 5 * MINUTE, for: 2 * MINUTE, severity: "critical" },
  { factor: 6, long: 6 * HOUR, short: 30 * MINUTE, for: 15 * MINUTE, severity: "critical" },
  { factor: 1, long: 3 * DAY, short: 6 * HOUR, for: HOUR, severity: "warning" },
] as const

/** With a handful of archives a day, one alone would be a fast burn. */
const LEAST_MISSES = 3

/** `5m`. The names are the same on a faster clock. */
const nameOf = (seconds: number) =>
  seconds % DAY === 0
    ? `${seconds / DAY}d`
    : seconds % HOUR === 0
      ? `${seconds / HOUR}h`
      : `${seconds / MINUTE}m`

const WINDOWS = [...new Set(BURNS.flatMap(({ long, short }) => [short, long]))].sort((a, b) => a - b)

export function objectiveRules({ span, seconds }: Clock): Group {
  const ratio = ({ name }: Objective, window: number) => `unseal:${name}:ratio_rate${nameOf(window)}`
  const records = OBJECTIVES.flatMap((objective): Recording[] => [
    ...WINDOWS.map((window) => ({
      record: ratio(objective, window),
      expr: `(${objective.missed(span(window))}) / ${objective.all(span(window))}`,
    })),
    ...[...new Set(BURNS.map(({ long }) => long))].map((window) => ({
      record: `unseal:${objective.name}:rate${nameOf(window)}`,
      expr: objective.missed(span(window)),
    })),
  ])
  const alerts = OBJECTIVES.flatMap((objective) =>
    BURNS.map(({ factor, long, short, severity, ...burn }): Alert => {
      const limit = Number((factor * objective.budget).toPrecision(3))
      return {
        alert: objective.alert,
        ...{ severity, owner: objective.owner, for: span(burn.for) },
        labels: { window: nameOf(long) },
        expr: [
          `${ratio(objective, long)} > ${limit}`,
          `and ${ratio(objective, short)} > ${limit}`,
          `and unseal:${objective.name}:rate${nameOf(long)} * ${seconds(long)} >= ${LEAST_MISSES - 0.5}`,
        ].join("\n"),
        summary: objective.summary,
        description: `In the last ${nameOf(long)}, {{ $value | humanizePercentage }} of the ${objective.missing}. The objective allows ${100 * objective.budget}% in thirty days, and this uses it up ${factor === 1 ? "in that time" : `${factor} times as fast`}. ${objective.look}`,
      }
    }),
  )
  return { name: "unseal-objectives", rules: [...records, ...alerts] }
}
