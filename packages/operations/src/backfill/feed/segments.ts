/** The segments of one backfill: which are settled, which are open, and the loaded lines. */
import { jobIdOf } from "@unseal/queue/jobs/job"
import { isRefused, type ManifestLine, type SegmentLine } from "../home/line.ts"
import { type Manifest, readSegment } from "../home/manifest.ts"
import type { HomeStore } from "../home/objects.ts"
import { addOutcomes, OUTCOMES, type Outcome, type OutcomeCounts } from "../home/outcomes.ts"
import { noteSettled, readOutcomes, readState, settleSegment, writeState } from "../home/state.ts"
import { type Detail, type OpenSegment, openSegment, type Unsettled } from "./open-segment.ts"

/** A line's place: its segment, counted from 1, and its index there. */
export interface LinePlace {
  readonly segment: number
  readonly index: number
}

/** An archive that may be fed. */
export interface Candidate extends LinePlace {
  readonly projectId: string
  readonly line: ManifestLine
  /** The id that its next job has. */
  readonly jobId: string
}

export interface Segments {
  stateOf(at: LinePlace): Unsettled | Outcome
  move(at: LinePlace, state: Unsettled): void
  settle(at: LinePlace, outcome: Outcome, detail?: Detail, atMs?: number): void
  /** Up to `most` lines that are neither settled nor fed, in the manifest's order. Opens segments if `mayOpen`. */
  candidates(
    most: number,
    isMeant: (at: LinePlace, projectId: string) => boolean,
    mayOpen: boolean,
  ): Promise<Candidate[]>
  /** Settles lines that are not fed as cancelled, for projects that `isMeant` accepts. */
  cancel(isMeant: (projectId: string) => boolean): Promise<void>
  /** Lines of open segments in a state. */
  count(state: Unsettled): number
  outcomes(): OutcomeCounts
  settledCount(): number
  /** Writes the outcomes of the segments that are settled by now. */
  writeSettled(): Promise<void>
  /** Whether every line is settled. If so, notes at the home that the backfill has ended. */
  endIfDone(isCancelled: boolean): Promise<boolean>
}

/** The most open segments. Lines after waiting ones are fed, up to this limit. */
const MOST_OPEN = 200
/** The most segments whose lines are in memory. */
const MOST_LOADED = 4

export type SegmentsStep = "settling" | "settled" | "state-written" | "ended"

export async function createSegments(
  home: HomeStore,
  id: string,
  manifest: Manifest,
  step: (step: SegmentsStep) => Promise<void>,
  signal: AbortSignal,
): Promise<Segments> {
  const state = await readState(home, id, signal)
  const open = new Map<number, OpenSegment>()
  const loaded = new Map<number, Promise<SegmentLine[]>>()
  const total = manifest.segments.length
  /** The first segment that this process has not looked at. */
  let next = 1
  let isDirty = false

  function linesOf(number: number): Promise<SegmentLine[]> {
    const known = loaded.get(number)
    loaded.delete(number)
    const lines = known ?? readSegment(home, manifest.segments[number - 1]!, signal)
    loaded.set(number, lines)
    lines.catch(() => loaded.get(number) === lines && loaded.delete(number))
    for (const oldest of loaded.keys()) if (loaded.size > MOST_LOADED) loaded.delete(oldest)
    return lines
  }

  /** Opens the next segment, unless it is settled. */
  async function openNext(): Promise<void> {
    const number = next
    if (!state.settled.has(number)) {
      const { lines: count } = manifest.segments[number - 1]!
      // An earlier feeder may have ended between writing the outcomes and writing the state.
      const rows = await readOutcomes(home, id, number, count, signal)
      if (rows !== null) noteSettled(state, number, rows)
      else open.set(number, openSegment(number, await linesOf(number)))
      isDirty = true
    }
    state.opened = Math.max(state.opened, number)
    next = number + 1
  }

  const mayOpenNext = (mayOpen: boolean) => next <= (mayOpen ? total : state.opened) && open.size < MOST_OPEN

  async function add(
    segment: OpenSegment,
    found: Candidate[],
    most: number,
    isMeant: (at: LinePlace, projectId: string) => boolean,
  ): Promise<void> {
    const at = { segment: segment.number, index: 0 }
    if (![...segment.feedable.keys()].some((projectId) => isMeant({ ...at, index: -1 }, projectId))) return
    for (const [index, line] of (await linesOf(segment.number)).entries()) {
      if (found.length >= most) return
      if (isRefused(line) || !isFeedable(segment.stateOf(index))) continue
      const { projectId } = line
      if (isMeant({ ...at, index }, projectId))
        found.push({ ...at, index, projectId, line, jobId: jobIdOf(line) })
    }
  }

  const all = (): OutcomeCounts => {
    const counts = { ...state.outcomes }
    for (const segment of open.values()) addOutcomes(counts, segment.outcomes())
    return counts
  }

  return {
    stateOf: ({ segment, index }) => open.get(segment)!.stateOf(index),
    move: ({ segment, index }, to) => open.get(segment)!.move(index, to),
    settle: ({ segment, index }, outcome, detail, atMs) =>
      open.get(segment)!.settle(index, outcome, detail, atMs),
    async candidates(most, isMeant, mayOpen) {
      const found: Candidate[] = []
      for (const segment of open.values()) {
        if (found.length >= most) break
        await add(segment, found, most, isMeant)
      }
      while (found.length < most && mayOpenNext(mayOpen)) {
        const number = next
        try {
          await openNext()
        } catch (error) {
          // What was found is fed first. Then only the trouble is left.
          if (found.length > 0) break
          throw error
        }
        const opened = open.get(number)
        if (opened !== undefined) await add(opened, found, most, isMeant)
      }
      return found
    },
    async cancel(isMeant) {
      for (const segment of open.values())
        for (const [index, line] of (await linesOf(segment.number)).entries())
          if (!isRefused(line) && isFeedable(segment.stateOf(index)) && isMeant(line.projectId))
            segment.settle(index, "cancelled")
    },
    count: (state) => [...open.values()].reduce((sum, segment) => sum + segment.count(state), 0),
    outcomes: all,
    settledCount: () => Object.values(all()).reduce((sum, count) => sum + count, 0),
    async writeSettled() {
      for (const [number, segment] of open) {
        if (!segment.isSettled) continue
        await step("settling")
        await settleSegment(home, id, number, segment.rows(await linesOf(number)), state, signal)
        open.delete(number)
        isDirty = true
        await step("settled")
      }
      if (!isDirty) return
      await writeState(home, id, state, signal)
      isDirty = false
      await step("state-written")
    },
    async endIfDone(isCancelled) {
      if (open.size > 0 || next <= (isCancelled ? state.opened : total)) return false
      if (isCancelled) {
        const lines = manifest.segments.reduce((sum, { lines }) => sum + lines, 0)
        const others = OUTCOMES.reduce((sum, outcome) => sum + state.outcomes[outcome], 0)
        state.outcomes.cancelled += lines - others
        state.isCancelled = true
      }
      state.endedAt = new Date().toISOString()
      await writeState(home, id, state, signal)
      await step("ended")
      return true
    },
  }
}

const isFeedable = (state: Unsettled | Outcome): boolean =>
  state === "pending" || state === "ready" || state === "restoring"
