/** The manifest of a backfill: its segments and the options of its start. It is written once, at the start. */
import { z } from "zod"
import { BackfillError } from "../backfill-error.ts"
import { decodeLines, digestOf, type SegmentLine } from "./line.ts"
import { type HomeStore, KEYS, readWhole, unpack } from "./objects.ts"

/** How many lines a segment has, and how many characters at most. */
export const SEGMENT_LINES = 5_000
export const SEGMENT_CHARACTERS = 8 * 1024 * 1024

const segmentSchema = z.object({
  /** Hex, over the lines before they are compressed. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  lines: z.int().positive(),
})

const manifestSchema = z.object({
  version: z.literal(1),
  /** ISO 8601. */
  startedAt: z.iso.datetime(),
  /** Archives by project. */
  projects: z.record(z.string(), z.int().positive()),
  archives: z.int().nonnegative(),
  refused: z.int().nonnegative(),
  /** Lines that have nothing to decrypt, such as other callbacks. They are not kept. */
  ignored: z.int().nonnegative(),
  /** The sum of the announced sizes, and how many archives announced one. */
  bytes: z.int().nonnegative(),
  sized: z.int().nonnegative(),
  segments: z.array(segmentSchema),
  /** Which start of the same lines it is, counted from 1. */
  round: z.int().positive(),
})

export type Manifest = z.infer<typeof manifestSchema>
export type Segment = z.infer<typeof segmentSchema>

/** The id of a backfill of these segments, in its first or a later round. The same lines have the same id. */
export function backfillIdOf(segments: readonly Segment[], round = 1): string {
  const lines = digestOf(segments.map(({ sha256, lines }) => `${sha256} ${lines}\n`).join("")).slice(0, 16)
  return round === 1 ? lines : `${lines}-${round}`
}

/**
 * The manifest of backfill `id`; `null` if there is none. Throws `ERR_BACKFILL_CHANGED` if the id was not made from it.
 */
export async function readManifest(
  store: HomeStore,
  id: string,
  signal: AbortSignal,
): Promise<Manifest | null> {
  const bytes = await readWhole(store, KEYS.manifest(id), signal)
  if (bytes === null) return null
  const name = `${store.location}/${KEYS.manifest(id)}`
  const parsed = manifestSchema.safeParse(jsonIn(bytes))
  if (!parsed.success)
    throw new BackfillError(
      "ERR_BACKFILL_CHANGED",
      `${name} is not a manifest: it was replaced, or cut short`,
    )
  const found = backfillIdOf(parsed.data.segments, parsed.data.round)
  if (found !== id)
    throw new BackfillError(
      "ERR_BACKFILL_CHANGED",
      `${name} is the manifest of backfill ${found}: it was replaced`,
    )
  return parsed.data
}

/** The lines of a segment. Throws `ERR_BACKFILL_CHANGED` unless they are exactly those that were written. */
export async function readSegment(
  store: HomeStore,
  { sha256, lines }: Segment,
  signal: AbortSignal,
): Promise<SegmentLine[]> {
  const name = `${store.location}/${KEYS.segment(sha256)}`
  const bytes = await readWhole(store, KEYS.segment(sha256), signal)
  if (bytes === null) throw new BackfillError("ERR_BACKFILL_CHANGED", `${name} is missing: it was removed`)
  const text = await unpack(bytes, name)
  const found = digestOf(text)
  if (found !== sha256)
    throw new BackfillError(
      "ERR_BACKFILL_CHANGED",
      `the lines in ${name} have the SHA-256 ${found}: it was replaced`,
    )
  const decoded = decodeLines(text)
  if (decoded.length !== lines)
    throw new BackfillError(
      "ERR_BACKFILL_CHANGED",
      `${name} has ${decoded.length} lines, but its manifest says ${lines}`,
    )
  return decoded
}

function jsonIn(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"))
  } catch {
    return null
  }
}
