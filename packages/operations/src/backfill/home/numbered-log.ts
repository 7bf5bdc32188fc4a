/**
 * A list that many may add to and nobody may change: an object for each entry, with the next free number. So no entry is lost
 * when two are added at the same moment, although a store can't change an object in place.
 */
import { BackfillError } from "../backfill-error.ts"
import { type HomeStore, readWhole, writeNew } from "./objects.ts"

/** The entries from number `first` (counted from 1) on. */
export async function readLog(
  store: HomeStore,
  keyOf: (number: number) => string,
  first: number,
  signal: AbortSignal,
): Promise<unknown[]> {
  const entries: unknown[] = []
  for (let number = first; ; number++) {
    const bytes = await readWhole(store, keyOf(number), signal)
    if (bytes === null) return entries
    entries.push(parseEntry(bytes, `${store.location}/${keyOf(number)}`))
  }
}

/** Adds `entry` after `known` entries and those that others have added since. Resolves to its number. */
export async function addToLog(
  store: HomeStore,
  keyOf: (number: number) => string,
  known: number,
  entry: object,
  signal: AbortSignal,
): Promise<number> {
  const bytes = Buffer.from(`${JSON.stringify({ ...entry, nonce: crypto.randomUUID() })}\n`)
  for (let number = known + 1; ; number++) {
    if (!(await writeNew(store, keyOf(number), bytes, signal))) continue
    // A store that ignores the condition lets the last of two writers win.
    const kept = await readWhole(store, keyOf(number), signal)
    if (kept !== null && bytes.equals(kept)) return number
  }
}

function parseEntry(bytes: Uint8Array, name: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"))
  } catch {
    throw new BackfillError("ERR_BACKFILL_CHANGED", `${name} is not JSON: it was replaced, or cut short`)
  }
}
