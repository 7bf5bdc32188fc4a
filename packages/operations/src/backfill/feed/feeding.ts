/**
 * Feeds all backfills of a queue. Every worker runs this; a lease in Redis chooses the one that feeds, and another worker
 * continues when that one is gone. Redis notes which backfills there are. If it has lost that, they are found at their homes.
 */
import { isUnsealError } from "@unseal/archive/errors"
import { rest, untilAborted } from "@unseal/archive/waiting"
import { createFeederLease } from "@unseal/queue/backfill/lease"
import {
  noteSearched,
  type RegisteredBackfill,
  readBackfills,
  registerBackfill,
  removeProgress,
  unregisterBackfill,
  writeProgress,
} from "@unseal/queue/backfill/registry"
import { restoreNotes } from "@unseal/queue/backfill/restores"
import { BackfillError } from "../backfill-error.ts"
import { searchHome } from "../home/home.ts"
import { readManifest } from "../home/manifest.ts"
import type { HomeStore } from "../home/objects.ts"
import type { FeedDependencies } from "./dependencies.ts"
import { type BackfillFeed, openFeed, type Progress } from "./feed.ts"

/** A home that is open. */
export interface OpenedHome {
  readonly store: HomeStore
  /** Must be called once. */
  release(): void
}

export interface FeedingOptions extends Omit<FeedDependencies, "isHeld"> {
  /** How many archives of all backfills together may wait in the queue. */
  readonly window: number
  /** One project for each destination: every place that may be a home. */
  readonly homes: () => readonly string[]
  /** Opens the destination of a project. Throws `UnsealError` if it can't be opened, or if the project is not configured here. */
  readonly openHome: (projectId: string) => Promise<OpenedHome>
  readonly observe: FeedingObserver
  /** How long the lease lasts without a renewal. Default 15 s. */
  readonly leaseMs?: number
  /** The pause between two turns. Default 1 s. */
  readonly pauseMs?: number
  /** How long to wait after the start before searching homes: a starting worker has enough to do. Default 20 s. */
  readonly searchAfterMs?: number
}

/** Reports about backfills, for log and metrics. */
export interface FeedingObserver {
  /** What this process feeds, after each turn; empty as soon as it feeds nothing. */
  turned(backfills: readonly FedBackfill[]): void
  began(id: string): void
  ended(id: string, progress: Progress): void
  /** Something keeps a backfill, or all of them (`id` is `null`), from going on. It is tried again. */
  halted(id: string | null, error: unknown): void
}

/** A backfill in this process's hands, as Redis shows it to others. */
export interface FedBackfill extends Progress {
  readonly id: string
  /** Why it does not go on; `null` while it does. */
  readonly halted: string | null
  /** ISO 8601. */
  readonly at: string
}

export interface Feeding {
  /** Ends it, and lets another process feed. */
  close(): Promise<void>
}

interface InHand {
  readonly backfill: RegisteredBackfill
  feed?: BackfillFeed
  home?: OpenedHome
  halted: string | null
  failures: number
  notBefore: number
}

const LONGEST_PAUSE_MS = 60_000
/** How often to retry homes that could not be searched. */
const SEARCH_AGAIN_MS = 60_000
const SEARCHED_AT_ONCE = 16

export function startFeeding(options: FeedingOptions): Feeding {
  const { connection, queue, observe, leaseMs = 15_000, pauseMs = 1_000 } = options
  const closing = new AbortController()
  const { signal } = closing
  const lease = createFeederLease({ connection, queue, ttlMs: leaseMs })
  const inHand = new Map<string, InHand>()
  /** The homes that were searched since Redis was last empty. */
  const searched = new Set<string>()
  const found = new Set<string>()
  let searchNotBefore = performance.now() + (options.searchAfterMs ?? 20_000)

  function drop(id: string): void {
    inHand.get(id)?.home?.release()
    inHand.delete(id)
  }

  /** Finds the backfills that Redis has forgotten. */
  async function search(): Promise<void> {
    if (performance.now() < searchNotBefore) return
    const left = options.homes().filter((projectId) => !searched.has(projectId))
    let next = 0
    const worker = async () => {
      for (let projectId = left[next++]; projectId !== undefined; projectId = left[next++]) {
        const home = await options.openHome(projectId)
        try {
          for (const id of await searchHome(home.store, signal)) {
            await registerBackfill(connection, queue, { id, home: projectId, orders: 0 })
            found.add(id)
          }
          searched.add(projectId)
        } finally {
          home.release()
        }
      }
    }
    const ended = await Promise.allSettled(Array.from({ length: SEARCHED_AT_ONCE }, worker))
    signal.throwIfAborted()
    const failed = ended.find((one) => one.status === "rejected")
    if (failed === undefined) {
      await noteSearched(connection, queue, [...found])
      // Redis may lose that at any moment. Then all homes are searched once more.
      searched.clear()
      found.clear()
      return
    }
    searchNotBefore = performance.now() + SEARCH_AGAIN_MS
    observe.halted(null, failed.reason)
  }

  async function turn(one: InHand, most: number): Promise<void> {
    const { id, home: projectId, orders } = one.backfill
    if (performance.now() < one.notBefore) return
    try {
      one.home ??= await options.openHome(projectId)
      if (one.feed === undefined) {
        const home = one.home.store
        const manifest = await readManifest(home, id, signal)
        if (manifest === null)
          throw new BackfillError(
            "ERR_BACKFILL_UNKNOWN",
            `the destination of project ${projectId} has no backfill ${id}: it was removed, or the project has another destination now`,
          )
        const isHeld = () => lease.isHeld && !signal.aborted
        one.feed = await openFeed({ ...options, isHeld }, { id, home, manifest }, signal)
        observe.began(id)
      }
      if (await one.feed.turn(most, orders)) {
        await unregisterBackfill(connection, queue, id)
        await removeProgress(connection, queue, id)
        await restoreNotes(connection, queue, id).clear()
        observe.ended(id, one.feed.progress())
        drop(id)
        return
      }
      ;[one.halted, one.failures] = [null, 0]
    } catch (error) {
      if (signal.aborted) return
      one.failures++
      const pause = error instanceof BackfillError ? LONGEST_PAUSE_MS : pauseMs * 2 ** one.failures
      one.notBefore = performance.now() + Math.min(LONGEST_PAUSE_MS, pause)
      one.halted = clauseOf(error)
      observe.halted(id, error)
    }
  }

  const shownOf = (one: InHand): FedBackfill[] =>
    one.feed === undefined
      ? []
      : [{ ...one.feed.progress(), id: one.backfill.id, halted: one.halted, at: new Date().toISOString() }]

  async function turnAll(): Promise<void> {
    const { backfills, wereSearched } = await readBackfills(connection, queue)
    if (!wereSearched) await search()
    const ids = new Set(backfills.map(({ id }) => id))
    for (const id of [...inHand.keys()]) if (!ids.has(id)) drop(id)
    for (const backfill of backfills) {
      const before = inHand.get(backfill.id)
      const fresh: InHand = { backfill, halted: null, failures: 0, notBefore: Number.NEGATIVE_INFINITY }
      // An order takes effect at once, even if the last turn failed.
      const isOrdered = before !== undefined && backfill.orders > before.backfill.orders
      inHand.set(backfill.id, before ? { ...before, backfill, ...(isOrdered && { notBefore: 0 }) } : fresh)
    }
    const most = Math.max(1, Math.floor(options.window / Math.max(1, inHand.size)))
    await Promise.all([...inHand.values()].map((one) => turn(one, most)))
    const shown = [...inHand.values()].flatMap(shownOf)
    await Promise.all(shown.map((one) => writeProgress(connection, queue, one.id, one)))
    observe.turned(shown)
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        if (await lease.contend()) {
          // Commands of Redis wait until it is back.
          await untilAborted(turnAll(), signal)
          await rest(pauseMs, signal)
          continue
        }
        if (inHand.size > 0) observe.turned([])
        for (const id of [...inHand.keys()]) drop(id)
        await rest(leaseMs / 3, signal)
      } catch (error) {
        if (signal.aborted) return
        observe.halted(null, error)
        await rest(Math.min(leaseMs / 3, 5_000), signal).catch(() => {})
      }
    }
  }

  // A turn may take longer than the lease.
  const renewal = setInterval(() => void (lease.isHeld && lease.contend()), leaseMs / 3)
  renewal.unref()
  const running = run().catch(() => {})

  return {
    async close() {
      closing.abort(new Error("feeding ends"))
      clearInterval(renewal)
      await running
      for (const id of [...inHand.keys()]) drop(id)
      observe.turned([])
      await lease.release()
    },
  }
}

/** An error as a clause, for operators. */
export function clauseOf(error: unknown): string {
  if (isUnsealError(error) || error instanceof BackfillError) return `${error.code}: ${error.message}`
  return error instanceof Error ? error.message : String(error)
}
