/** The outcome of each line of a manifest, and the CSV in which the outcomes are kept and reported. */
import { FAILURES, type FailureCode } from "@unseal/queue/run/ending"

/**
 * `committed` since the backfill began · `done` before that · `dead-letter` · `discarded`: an operator discarded its dead letter
 * meanwhile · `refused`: the line does not describe an archive · `unrecorded`: its job was completed again and again, but left no
 * record · `cancelled`.
 */
export const OUTCOMES = [
  "committed",
  "done",
  "dead-letter",
  "discarded",
  "refused",
  "unrecorded",
  "cancelled",
] as const
export type Outcome = (typeof OUTCOMES)[number]

/** Lines by outcome. */
export type OutcomeCounts = Record<Outcome, number>

export const noOutcomes = (): OutcomeCounts =>
  Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as OutcomeCounts

/** Adds `more` to `counts`. */
export function addOutcomes(counts: OutcomeCounts, more: OutcomeCounts): void {
  for (const outcome of OUTCOMES) counts[outcome] += more[outcome]
}

/** A line of a report. A refused line has neither project nor archive. */
export interface LineOutcome {
  readonly line: number
  readonly projectId: string
  readonly archiveId: string
  /** An outcome; or `waiting` (in the queue) or `pending` (not yet), which only a report has. */
  readonly outcome: Outcome | "waiting" | "pending"
  /** Of a dead letter. */
  readonly code: string
  /** The reason, for a line that is not done. */
  readonly reason: string
  readonly jobId: string
  /** ISO 8601: the time of the outcome, if it is known. */
  readonly at: string
}

const COLUMNS = ["line", "projectId", "archiveId", "outcome", "code", "reason", "jobId", "at"] as const

const cell = (value: string | number): string => {
  const text = String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** A header and a row for each of `outcomes`. */
export const encodeOutcomes = (outcomes: readonly LineOutcome[]): string =>
  [COLUMNS.join(","), ...outcomes.map((one) => COLUMNS.map((name) => cell(one[name])).join(","))]
    .map((row) => `${row}\n`)
    .join("")

/** What `encodeOutcomes` made; `null` for anything else. */
export function decodeOutcomes(text: string): LineOutcome[] | null {
  const [header, ...rows] = rowsOf(text)
  if (header?.join(",") !== COLUMNS.join(",")) return null
  const decoded = rows.map(([line, projectId, archiveId, outcome, code, reason, jobId, at]) => ({
    line: Number(line),
    ...{ projectId, archiveId, outcome, code, reason, jobId, at },
  }))
  const isWhole = decoded.every(
    ({ line, at, outcome }) =>
      Number.isInteger(line) &&
      at !== undefined &&
      (OUTCOMES as readonly (string | undefined)[]).includes(outcome),
  )
  return isWhole ? (decoded as LineOutcome[]) : null
}

/** The cells of a CSV. None if it is cut short. */
function rowsOf(text: string): string[][] {
  if (!text.endsWith("\n")) return []
  const rows: string[][] = []
  let row: string[] = []
  let at = 0
  while (at < text.length) {
    let value: string
    if (text[at] === '"') {
      let end = text.indexOf('"', at + 1)
      while (end >= 0 && text[end + 1] === '"') end = text.indexOf('"', end + 2)
      if (end < 0) return []
      value = text.slice(at + 1, end).replaceAll('""', '"')
      at = end + 1
    } else {
      const end = text.slice(at).search(/[,\n]/)
      value = end < 0 ? text.slice(at) : text.slice(at, at + end)
      at += value.length
    }
    row.push(value)
    if (text[at] !== ",") {
      rows.push(row)
      row = []
    }
    at++
  }
  return rows
}

/** Lines by outcome. */
export function countOutcomes(outcomes: readonly LineOutcome[]): OutcomeCounts {
  const counts = noOutcomes()
  for (const { outcome } of outcomes) if (outcome !== "waiting" && outcome !== "pending") counts[outcome]++
  return counts
}

/** What an operator can do about a line; "" if there is nothing to do. */
export function remedyOf({ outcome, code, archiveId }: LineOutcome): string {
  switch (outcome) {
    case "dead-letter":
      return Object.hasOwn(FAILURES, code) ? FAILURES[code as FailureCode].remedy : ""
    case "discarded":
      return `nothing; if you want it after all, submit it with "unseal submit"`
    case "refused":
      return "correct the line, and start a backfill with it"
    case "unrecorded":
      return `find out who removes records from the destination; "unseal archives show ${archiveId}" has the details`
    case "cancelled":
      return `start the manifest again with --again`
    default:
      return ""
  }
}

/** The report's rows: `encodeOutcomes` with a remedy. */
export const REPORT_HEADER = `${[...COLUMNS, "remedy"].join(",")}\n`
export const reportRow = (one: LineOutcome): string =>
  `${[...COLUMNS.map((name) => one[name]), remedyOf(one)].map(cell).join(",")}\n`
