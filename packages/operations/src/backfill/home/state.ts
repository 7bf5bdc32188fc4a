/**
 * The progress of a backfill, as its home keeps it. It only saves requests. A segment is settled if it has outcomes. If the state
 * does not say that it is settled, the next feeder looks for its outcomes.
 */
import { z } from "zod"
import { BackfillError } from "../backfill-error.ts"
import { type HomeStore, KEYS, pack, readWhole, replaceWhole, unpack, writeNew } from "./objects.ts"
import {
  addOutcomes,
  countOutcomes,
  decodeOutcomes,
  encodeOutcomes,
  type LineOutcome,
  noOutcomes,
  OUTCOMES,
  type OutcomeCounts,
} from "./outcomes.ts"

const countsSchema = z.object(
  Object.fromEntries(OUTCOMES.map((outcome) => [outcome, z.int().nonnegative()])) as Record<
    (typeof OUTCOMES)[number],
    z.ZodInt
  >,
)

const stateSchema = z.object({
  version: z.literal(1),
  /** The numbers of the settled segments, as ranges. */
  settled: z.array(z.tuple([z.int().positive(), z.int().positive()])),
  /** The last segment that was begun. Later ones have no line in the queue. */
  opened: z.int().nonnegative(),
  /** Lines of settled segments by outcome. */
  outcomes: countsSchema,
  /** ISO 8601. */
  updatedAt: z.iso.datetime(),
  endedAt: z.iso.datetime().optional(),
  isCancelled: z.boolean().optional(),
})
type StoredState = z.infer<typeof stateSchema>

/** The settled segments, and the outcomes of their lines. */
export interface SettledState {
  readonly settled: Set<number>
  opened: number
  readonly outcomes: OutcomeCounts
  endedAt?: string | undefined
  isCancelled?: boolean | undefined
}

/** The state at the home. A state that is missing or damaged counts as empty. */
export async function readState(store: HomeStore, id: string, signal: AbortSignal): Promise<SettledState> {
  const bytes = await readWhole(store, KEYS.state(id), signal)
  const stored = bytes === null ? null : parseState(bytes)
  if (stored === null) return { settled: new Set(), opened: 0, outcomes: noOutcomes() }
  const settled = new Set(
    stored.settled.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, at) => from + at)),
  )
  const { opened, outcomes, endedAt, isCancelled } = stored
  return { settled, opened, outcomes: { ...outcomes }, endedAt, isCancelled }
}

/** Writes the state. */
export async function writeState(
  store: HomeStore,
  id: string,
  { settled, opened, outcomes, endedAt, isCancelled }: SettledState,
  signal: AbortSignal,
): Promise<void> {
  const stored: StoredState = {
    ...{ version: 1, settled: rangesOf(settled), opened, outcomes, updatedAt: new Date().toISOString() },
    ...(endedAt !== undefined && { endedAt }),
    ...(isCancelled && { isCancelled }),
  }
  await replaceWhole(store, KEYS.state(id), Buffer.from(`${JSON.stringify(stored, null, 2)}\n`), signal)
}

/** The outcomes of segment `number`; `null` if it is not settled. Throws `ERR_BACKFILL_CHANGED`. */
export async function readOutcomes(
  store: HomeStore,
  id: string,
  number: number,
  lines: number,
  signal: AbortSignal,
): Promise<LineOutcome[] | null> {
  const bytes = await readWhole(store, KEYS.outcomes(id, number), signal)
  if (bytes === null) return null
  const name = `${store.location}/${KEYS.outcomes(id, number)}`
  const rows = decodeOutcomes(await unpack(bytes, name))
  if (rows === null || rows.length !== lines)
    throw new BackfillError(
      "ERR_BACKFILL_CHANGED",
      `${name} has ${rows === null ? "no outcomes" : `outcomes of ${rows.length} lines`}, but its segment has ${lines} lines: it was replaced`,
    )
  return rows
}

/**
 * Writes the outcomes of segment `number` once and for all, and adds them to `state`. If another process was first, that
 * process's outcomes count.
 */
export async function settleSegment(
  store: HomeStore,
  id: string,
  number: number,
  rows: readonly LineOutcome[],
  state: SettledState,
  signal: AbortSignal,
): Promise<void> {
  const isFirst = await writeNew(store, KEYS.outcomes(id, number), await pack(encodeOutcomes(rows)), signal)
  const kept = isFirst ? rows : ((await readOutcomes(store, id, number, rows.length, signal)) ?? rows)
  noteSettled(state, number, kept)
}

/** Adds a settled segment to `state`. */
export function noteSettled(state: SettledState, number: number, rows: readonly LineOutcome[]): void {
  if (state.settled.has(number)) return
  state.settled.add(number)
  addOutcomes(state.outcomes, countOutcomes(rows))
}

function parseState(bytes: Uint8Array): StoredState | null {
  try {
    return stateSchema.parse(JSON.parse(Buffer.from(bytes).toString("utf8")))
  } catch {
    return null
  }
}

function rangesOf(numbers: ReadonlySet<number>): [number, number][] {
  const ranges: [number, number][] = []
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === number - 1) last[1] = number
    else ranges.push([number, number])
  }
  return ranges
}
