/** Finds backfills for commands: their homes and their progress. */
import { readBackfills, readProgress, registerBackfill } from "@unseal/queue/backfill/registry"
import type { RedisClient } from "@unseal/queue/redis/client"
import { BackfillError } from "./backfill-error.ts"
import type { FedBackfill } from "./feed/feeding.ts"
import { listHome } from "./home/home.ts"
import { type Manifest, readManifest } from "./home/manifest.ts"
import { type HomeStore, KEYS } from "./home/objects.ts"
import { addOrder, NO_ORDERS, type Order, readOrders, type Standing } from "./home/orders.ts"
import type { OutcomeCounts } from "./home/outcomes.ts"
import { readState } from "./home/state.ts"

export interface BackfillAccess {
  readonly connection: RedisClient
  readonly queue: string
  /** One project for each destination: every place that may be a home. */
  readonly homes: readonly string[]
  /** Opens the destination of a project, once for all calls. The caller closes it. */
  readonly openHome: (projectId: string) => Promise<HomeStore>
}

/** A backfill, and where it is. */
export interface BackfillPlace {
  readonly id: string
  /** The project whose destination is its home. */
  readonly home: string
  readonly store: HomeStore
}

/** The progress of a backfill. */
export interface BackfillStatus {
  readonly id: string
  readonly home: string
  readonly manifest: Manifest
  readonly standing: Standing
  /** ISO 8601; `null` while it is under way. */
  readonly endedAt: string | null
  /** Lines that are settled, as the home has them, or as its feeder sees them, whichever is newer. */
  readonly outcomes: OutcomeCounts
  /** What its feeder last reported; `null` if no feeder did, or if the backfill has ended. */
  readonly fed: FedBackfill | null
}

/** The backfill with this id, wherever it is. Throws `ERR_BACKFILL_UNKNOWN`. */
export async function findBackfill(
  { connection, queue, homes, openHome }: BackfillAccess,
  id: string,
  signal: AbortSignal,
): Promise<BackfillPlace> {
  const { backfills } = await readBackfills(connection, queue)
  const registered = backfills.find((one) => one.id === id)
  const first = registered === undefined ? [] : [registered.home]
  for (const home of new Set([...first, ...homes])) {
    const store = await openHome(home)
    if ((await store.stat(KEYS.manifest(id), signal)) !== null) return { id, home, store }
  }
  throw new BackfillError("ERR_BACKFILL_UNKNOWN", `no destination of these projects has a backfill ${id}`)
}

/** All backfills of all homes, the oldest of each home first. The trouble of one home is yielded, and the others are listed. */
export async function* listBackfills(
  access: BackfillAccess,
  signal: AbortSignal,
): AsyncGenerator<BackfillPlace | { readonly home: string; readonly error: unknown }> {
  for (const home of access.homes) {
    try {
      const store = await access.openHome(home)
      for (const id of await listHome(store, signal)) yield { id, home, store }
    } catch (error) {
      signal.throwIfAborted()
      yield { home, error }
    }
  }
}

/** The progress of the backfill at `place`. Throws `BackfillError`. */
export async function readStatus(
  { connection, queue }: BackfillAccess,
  { id, home, store }: BackfillPlace,
  signal: AbortSignal,
): Promise<BackfillStatus> {
  const manifest = await readManifest(store, id, signal)
  if (manifest === null) throw new BackfillError("ERR_BACKFILL_UNKNOWN", `backfill ${id} no longer exists`)
  const standing = await readOrders(store, id, NO_ORDERS, signal)
  const { endedAt = null, outcomes } = await readState(store, id, signal)
  const fed = endedAt === null ? ((await readProgress(connection, queue, id)) as FedBackfill | null) : null
  return { id, home, manifest, standing, endedAt, outcomes: fed?.outcomes ?? outcomes, fed }
}

/** Gives an order to the backfill at `place`. Throws `ERR_BACKFILL_ENDED`. */
export async function order(
  { connection, queue }: BackfillAccess,
  { id, home, store }: BackfillPlace,
  what: Omit<Order, "at">,
  signal: AbortSignal,
): Promise<void> {
  const { endedAt } = await readState(store, id, signal)
  if (endedAt !== undefined)
    throw new BackfillError(
      "ERR_BACKFILL_ENDED",
      `backfill ${id} has ended (${endedAt}), so it takes no orders`,
    )
  const standing = await readOrders(store, id, NO_ORDERS, signal)
  if (standing.isCancelled)
    throw new BackfillError(
      "ERR_BACKFILL_ENDED",
      `backfill ${id} is cancelled: it ends when its last job in the queue has ended. After that, start its manifest with --again`,
    )
  const orders = await addOrder(store, id, standing, what, signal)
  await registerBackfill(connection, queue, { id, home, orders })
}
