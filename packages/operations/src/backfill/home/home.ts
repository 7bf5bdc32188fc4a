/** The homes of backfills, and which backfills each has. */
import { z } from "zod"
import { addToLog, readLog } from "./numbered-log.ts"
import { type HomeStore, KEYS } from "./objects.ts"
import { readState } from "./state.ts"

const entrySchema = z.object({ id: z.string().regex(/^[0-9a-f]{16}(-\d+)?$/) })

/** All backfills of a home, in the order in which they began. An entry that is not ours is skipped. */
export async function listHome(store: HomeStore, signal: AbortSignal): Promise<string[]> {
  const entries = await readLog(store, KEYS.index, 1, signal)
  return [...new Set(entries.flatMap((entry) => entrySchema.safeParse(entry).data?.id ?? []))]
}

/** The backfills of a home that have not ended. */
export async function searchHome(store: HomeStore, signal: AbortSignal): Promise<string[]> {
  const open: string[] = []
  for (const id of await listHome(store, signal))
    if ((await readState(store, id, signal)).endedAt === undefined) open.push(id)
  return open
}

/** Adds a backfill to the list of its home, unless it is there. */
export async function addToHome(store: HomeStore, id: string, signal: AbortSignal): Promise<void> {
  const entries = await readLog(store, KEYS.index, 1, signal)
  if (entries.some((entry) => entrySchema.safeParse(entry).data?.id === id)) return
  await addToLog(store, KEYS.index, entries.length, { id }, signal)
}
