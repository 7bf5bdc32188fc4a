/** A segment in which some lines are not settled: the state of each line, in one byte each. */
import { isRefused, type SegmentLine } from "../home/line.ts"
import { type LineOutcome, noOutcomes, OUTCOMES, type Outcome, type OutcomeCounts } from "../home/outcomes.ts"

/** `pending`: to be looked at · `ready`: looked at, and not done · `restoring` · `fed`: in the queue. */
const UNSETTLED = ["pending", "ready", "restoring", "fed"] as const
export type Unsettled = (typeof UNSETTLED)[number]
const STATES: readonly (Unsettled | Outcome)[] = [...UNSETTLED, ...OUTCOMES]

/** What is known about a settled line in addition to its outcome. */
export interface Detail {
  readonly code?: string
  readonly reason?: string
  readonly jobId?: string
}

export interface OpenSegment {
  /** Its place in the manifest, counted from 1. */
  readonly number: number
  /** How many lines are in a state. */
  count(state: Unsettled): number
  /** Lines that are still to be fed, by project: those that are pending, ready or restoring. */
  readonly feedable: ReadonlyMap<string, number>
  stateOf(index: number): Unsettled | Outcome
  /** A line that is not settled changes its state. */
  move(index: number, state: Unsettled): void
  /** A line is settled for good. Does nothing if it was settled before. */
  settle(index: number, outcome: Outcome, detail?: Detail, atMs?: number): void
  /** Outcomes so far. */
  outcomes(): OutcomeCounts
  readonly isSettled: boolean
  /** The outcome of each line, once it is settled. */
  rows(lines: readonly SegmentLine[]): LineOutcome[]
}

/** All lines are pending, except refused ones. */
export function openSegment(number: number, lines: readonly SegmentLine[]): OpenSegment {
  const states = new Uint8Array(lines.length)
  const settledAt = new Float64Array(lines.length)
  const details = new Map<number, Detail>()
  // Names of projects are kept, not lines: a segment's lines take a thousand times the memory of their states.
  const projects = [...new Set(lines.map((line) => (isRefused(line) ? "" : line.projectId)))]
  const places = new Map(projects.map((id, place) => [id, place]))
  const projectOf = Uint32Array.from(lines, (line) => places.get(isRefused(line) ? "" : line.projectId)!)
  const counts = new Array<number>(STATES.length).fill(0)
  counts[0] = lines.length
  const feedable = new Map<string, number>()
  const isFeedable = (state: number) => state < UNSETTLED.indexOf("fed")

  function change(index: number, state: number): void {
    const before = states[index]!
    if (before === state) return
    counts[before]!--
    counts[state]!++
    states[index] = state
    if (isFeedable(before) === isFeedable(state)) return
    const project = projects[projectOf[index]!]!
    const left = (feedable.get(project) ?? 0) + (isFeedable(state) ? 1 : -1)
    if (left > 0) feedable.set(project, left)
    else feedable.delete(project)
  }
  const isDone = (index: number) => states[index]! >= UNSETTLED.length

  function settle(index: number, outcome: Outcome, detail: Detail = {}, atMs = Date.now()): void {
    if (isDone(index)) return
    change(index, STATES.indexOf(outcome))
    settledAt[index] = atMs
    if (Object.keys(detail).length > 0) details.set(index, detail)
  }

  for (const place of projectOf) feedable.set(projects[place]!, (feedable.get(projects[place]!) ?? 0) + 1)
  for (const [index, line] of lines.entries())
    if (isRefused(line)) settle(index, "refused", { reason: line.refused })

  return {
    number,
    feedable,
    settle,
    count: (state) => counts[UNSETTLED.indexOf(state)]!,
    stateOf: (index) => STATES[states[index]!]!,
    move(index, state) {
      if (!isDone(index)) change(index, UNSETTLED.indexOf(state))
    },
    outcomes() {
      const all = noOutcomes()
      for (const outcome of OUTCOMES) all[outcome] = counts[STATES.indexOf(outcome)]!
      return all
    },
    get isSettled() {
      return UNSETTLED.every((_, place) => counts[place] === 0)
    },
    rows: (lines) =>
      lines.map((line, index) =>
        rowOf(line, STATES[states[index]!] as Outcome, settledAt[index]!, details.get(index)),
      ),
  }
}

/** A row of the outcomes. */
export function rowOf(
  line: SegmentLine,
  outcome: LineOutcome["outcome"],
  atMs: number,
  { code = "", reason = "", jobId = "" }: Detail = {},
): LineOutcome {
  const { projectId, archiveId } = isRefused(line) ? { projectId: "", archiveId: "" } : line
  const at = atMs > 0 ? new Date(atMs).toISOString() : ""
  return { line: line.line, projectId, archiveId, outcome, code, reason, jobId, at }
}
