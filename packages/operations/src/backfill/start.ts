/**
 * Starts a backfill: brings a manifest into its normal form at a home, so that nothing depends on whoever started it. The same
 * lines have the same id, so a second start finds the first, and completes what it left half done.
 */
import { registerBackfill } from "@unseal/queue/backfill/registry"
import type { RedisClient } from "@unseal/queue/redis/client"
import { BackfillError } from "./backfill-error.ts"
import { addToHome } from "./home/home.ts"
import {
  digestOf,
  encodeLines,
  isRefused,
  type ManifestLine,
  manifestLineOf,
  type SegmentLine,
} from "./home/line.ts"
import {
  backfillIdOf,
  type Manifest,
  readManifest,
  SEGMENT_CHARACTERS,
  SEGMENT_LINES,
  type Segment,
} from "./home/manifest.ts"
import { type HomeStore, KEYS, pack, replaceWhole, writeNew } from "./home/objects.ts"
import { addOrder, NO_ORDERS, type Order, readOrders } from "./home/orders.ts"
import { readState } from "./home/state.ts"

/** A line of the input. */
export type GivenLine =
  | { readonly line: number; readonly payload: Omit<ManifestLine, "line"> }
  | { readonly line: number; readonly malformed: string }
  | { readonly line: number; readonly ignored: string }

export interface StartDependencies {
  readonly connection: RedisClient
  readonly queue: string
  /** Whether a project is configured. */
  readonly isProject: (projectId: string) => boolean
  /** Opens the destination of a project. The caller closes it. */
  readonly openHome: (projectId: string) => Promise<HomeStore>
}

export interface StartOptions extends Pick<Order, "pace" | "restore"> {
  /** The project whose destination is the home. Default: that of the first archive. */
  readonly home?: string | undefined
  /** Starts a backfill again after it has ended. */
  readonly again: boolean
  /** How many lines a segment has. Default: `SEGMENT_LINES`. */
  readonly segmentLines?: number
  /** Called after each segment with the lines so far. */
  readonly onProgress?: (lines: number) => void
}

export interface Started {
  /** `running`: it was started before, and goes on · `ended`: it was started before, and has ended. */
  readonly outcome: "started" | "running" | "ended"
  readonly id: string
  /** The project whose destination is its home. */
  readonly home: string
  readonly manifest: Manifest
}

type Counts = { -readonly [Field in "archives" | "refused" | "ignored" | "bytes" | "sized"]: Manifest[Field] }

/**
 * Starts a backfill of `given`. Throws `ERR_MANIFEST_INVALID` if it has no archive, or one of a project that is not configured:
 * then nothing is started. Also throws what the home's store throws.
 */
export async function startBackfill(
  dependencies: StartDependencies,
  given: AsyncIterable<GivenLine>,
  options: StartOptions,
  signal: AbortSignal,
): Promise<Started> {
  const { connection, queue } = dependencies
  const written = await writeSegments(dependencies, given, options, signal)
  const { store, home, segments, projects, counts } = written
  requireArchives(written, dependencies.isProject)
  let outcome: Started["outcome"] = "running"
  let found: { id: string; manifest: Manifest } | undefined
  for (let round = 1; found === undefined; round++) {
    const id = backfillIdOf(segments, round)
    const before = await readManifest(store, id, signal)
    const hasEnded = before !== null && (await readState(store, id, signal)).endedAt !== undefined
    if (before !== null) {
      if (hasEnded && options.again) continue
      found = { id, manifest: before }
      if (hasEnded) outcome = "ended"
      break
    }
    const manifest: Manifest = {
      ...{ version: 1, startedAt: new Date().toISOString(), projects: Object.fromEntries(projects) },
      ...{ ...counts, segments: [...segments], round },
    }
    // If somebody else has just started it, the next look finds their manifest.
    if (await writeNew(store, KEYS.manifest(id), Buffer.from(`${JSON.stringify(manifest)}\n`), signal)) {
      found = { id, manifest }
      outcome = "started"
    } else round--
  }
  const { id, manifest } = found
  if (outcome === "ended") return { outcome, id, home, manifest }
  // All steps are repeated each time, because an earlier start may have ended after any of them.
  const standing = await readOrders(store, id, NO_ORDERS, signal)
  let { orders } = standing
  if (orders === 0) {
    const { pace, restore } = options
    const order = { command: "start" as const, ...(pace && { pace }), ...(restore && { restore }) }
    orders = await addOrder(store, id, standing, order, signal)
  }
  await addToHome(store, id, signal)
  await registerBackfill(connection, queue, { id, home, orders })
  return { outcome, id, home, manifest }
}

interface Written {
  readonly store: HomeStore
  readonly home: string
  readonly segments: readonly Segment[]
  /** Archives by project, and the first line of each. */
  readonly projects: ReadonlyMap<string, number>
  readonly firstLines: ReadonlyMap<string, number>
  readonly counts: Counts
}

async function writeSegments(
  { openHome, isProject }: StartDependencies,
  given: AsyncIterable<GivenLine>,
  options: StartOptions,
  signal: AbortSignal,
): Promise<Written> {
  let place = options.home
  let store = place === undefined ? undefined : await openHome(place)
  const segments: Segment[] = []
  const projects = new Map<string, number>()
  const firstLines = new Map<string, number>()
  const counts: Counts = { archives: 0, refused: 0, ignored: 0, bytes: 0, sized: 0 }
  let lines: SegmentLine[] = []
  let characters = 0

  async function flush(): Promise<void> {
    if (lines.length === 0) return
    if (store === undefined) {
      requireArchives({ projects, firstLines, counts }, isProject)
      throw new BackfillError("ERR_MANIFEST_INVALID", "no project of the manifest is configured")
    }
    const text = encodeLines(lines)
    const sha256 = digestOf(text)
    // Replaces what may be there: a repeated start mends a damaged segment.
    await replaceWhole(store, KEYS.segment(sha256), await pack(text), signal)
    segments.push({ sha256, lines: lines.length })
    ;[lines, characters] = [[], 0]
    options.onProgress?.(counts.archives + counts.refused + counts.ignored)
  }

  for await (const one of given) {
    signal.throwIfAborted()
    if ("ignored" in one) {
      counts.ignored++
      continue
    }
    const line: SegmentLine =
      "malformed" in one ? { line: one.line, refused: one.malformed } : manifestLineOf(one.line, one.payload)
    if (isRefused(line)) counts.refused++
    else {
      const { projectId, size } = line
      counts.archives++
      if (size !== undefined) {
        counts.sized++
        counts.bytes += size
      }
      projects.set(projectId, (projects.get(projectId) ?? 0) + 1)
      if (!firstLines.has(projectId)) firstLines.set(projectId, one.line)
      if (store === undefined && isProject(projectId)) {
        place = projectId
        store = await openHome(projectId)
      }
    }
    lines.push(line)
    characters += JSON.stringify(line).length
    if (lines.length >= (options.segmentLines ?? SEGMENT_LINES) || characters >= SEGMENT_CHARACTERS)
      await flush()
  }
  await flush()
  if (store === undefined || place === undefined)
    throw new BackfillError("ERR_MANIFEST_INVALID", "the manifest is empty. Nothing was started")
  return { store, home: place, segments, projects, firstLines, counts }
}

function requireArchives(
  { projects, firstLines, counts }: Pick<Written, "projects" | "firstLines" | "counts">,
  isProject: (projectId: string) => boolean,
): void {
  if (counts.archives === 0) {
    const { refused, ignored } = counts
    throw new BackfillError(
      "ERR_MANIFEST_INVALID",
      `the manifest has no archive that can be decrypted in its first ${refused + ignored} lines: ${refused} are malformed, and ${ignored} are ignored. Nothing was started`,
    )
  }
  const unknown = [...projects].filter(([projectId]) => !isProject(projectId))
  if (unknown.length === 0) return
  const named = unknown
    .slice(0, 5)
    .map(([id, archives]) => `${id} (${archives} archives, from line ${firstLines.get(id)} on)`)
  const more = unknown.length > 5 ? `, and ${unknown.length - 5} more` : ""
  throw new BackfillError(
    "ERR_MANIFEST_INVALID",
    `the manifest names projects that are not configured: ${named.join(", ")}${more}. Configure them, or leave their lines out. Nothing was started`,
  )
}
