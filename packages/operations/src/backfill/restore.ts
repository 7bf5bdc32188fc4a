/**
 * Asks archived objects back before their archives are enqueued, a limited number at a time. The stores show what is under way,
 * so nothing is asked for twice. Redis has notes of it, so that the limit holds for the next process as well.
 */
import { isUnsealError } from "@unseal/archive/errors"
import type { ArchiveStore, RestoreTier, StoredObject } from "@unseal/archive/store/contract"
import type { RestoreNotes } from "@unseal/queue/backfill/restores"

export interface RestorerOptions {
  readonly tier: RestoreTier
  /** How many objects may be on their way at once. */
  readonly most: number
}

/**
 * `ready`: a worker may read it now · `waiting`: it is on its way back · `full`: it must be asked back, and the limit is reached.
 */
export type Prepared = "ready" | "waiting" | "full"

type RestoredArchive = { readonly projectId: string; readonly archiveId: string }

export interface Restorer {
  /**
   * Looks for the archive's object, and asks it back if it is archived. Call it again for what is not `ready`, as often as you
   * like: it asks the store only every two minutes. An object that does not exist is `ready`, and a worker finds that out. So is
   * an object that has not come back after four days. Throws the store's trouble, which names its side, and what Redis throws.
   */
  prepare(
    archive: RestoredArchive,
    source: Pick<ArchiveStore, "stat" | "restore">,
    sourceKeys: readonly string[],
    signal: AbortSignal,
  ): Promise<Prepared>
  /** Frees the place of an archive that nobody waits for any more. */
  forget(archive: RestoredArchive): Promise<void>
  /** How many objects are on their way. */
  readonly open: number
}

/** How long S3 keeps a restored copy. That outlasts a full queue, and a night outside the permitted hours. */
const COPY_DAYS = 7
/** The slowest restore, `bulk` from DEEP_ARCHIVE, takes two days. After this the worker's own wait for an archived object begins. */
const PATIENCE_MS = 4 * 86_400_000
/** A place that nobody asks about is free after this time: its archive was settled in another way. */
const FORGOTTEN_MS = PATIENCE_MS + 3_600_000
const CHECK_EVERY_MS = 10_000
/** Archives beyond this number are looked at again instead of remembered. */
const MOST_COLD = 50_000
/** A restore takes hours. */
const LOOK_EVERY_MS = 120_000
/**
 * Some stores accept a request and then do not show it. They are not asked again before this time, because each request costs
 * money.
 */
const ASK_EVERY_MS = 3_600_000
/** A request whose answer was lost may have been accepted. Its place is kept until a look shows that, or for this long. */
const DOUBT_MS = 600_000

interface Asked {
  /** When it was first asked back. */
  readonly since: number
  /** When the store may be looked at again. */
  lookAt: number
  /** When it may be asked again. */
  askAt: number
  /** When its place is free, even if nobody looks. */
  endsAt: number
}

/** `now`: milliseconds since the epoch. Default `Date.now`. */
export function createRestorer(
  { tier, most }: RestorerOptions,
  notes: RestoreNotes,
  now: () => number = Date.now,
): Restorer {
  const asked = new Map<string, Asked>()
  /** Archived, and not asked back yet. */
  const cold = new Set<string>()
  let loading: Promise<void> | undefined
  let nextCheckAt = 0

  async function load(): Promise<void> {
    for (const [id, since] of await notes.load())
      if (!asked.has(id)) asked.set(id, { since, lookAt: 0, askAt: 0, endsAt: since + FORGOTTEN_MS })
  }
  const loaded = () => {
    loading ??= load().catch((error: unknown) => {
      loading = undefined
      throw error
    })
    return loading
  }

  async function release(id: string): Promise<void> {
    cold.delete(id)
    if (asked.delete(id)) await notes.remove(id)
  }

  async function freeOverdue(): Promise<void> {
    if (now() < nextCheckAt) return
    nextCheckAt = now() + CHECK_EVERY_MS
    for (const [id, { endsAt }] of asked) if (endsAt <= now()) await release(id)
  }

  /** Keeps a place for an archive that the store says is on its way, even beyond the limit. */
  async function noteUnderWay(id: string): Promise<void> {
    cold.delete(id)
    const before = asked.get(id)
    const since = before?.since ?? now()
    asked.set(id, {
      since,
      lookAt: now() + LOOK_EVERY_MS,
      askAt: now() + ASK_EVERY_MS,
      endsAt: since + FORGOTTEN_MS,
    })
    if (before === undefined) await notes.add(id, since)
  }

  async function ask(
    id: string,
    object: StoredObject,
    source: Pick<ArchiveStore, "restore">,
    signal: AbortSignal,
  ): Promise<Prepared> {
    // The place is taken before anything is waited for, so that others can't take it as well.
    const since = asked.get(id)?.since ?? now()
    asked.set(id, { since, lookAt: 0, askAt: 0, endsAt: now() + DOUBT_MS })
    try {
      await notes.add(id, since)
      const restoring = await source.restore!(object, { tier, days: COPY_DAYS }, signal)
      if (restoring === "readable") {
        await release(id)
        return "ready"
      }
    } catch (error) {
      // The request was certainly refused. In all other cases it may have been accepted, and the next look will show that.
      if (isUnsealError(error) && !isUnsealError(error, "ERR_STORE_UNAVAILABLE")) await release(id)
      if (isUnsealError(error, "ERR_OBJECT_NOT_FOUND")) return "ready"
      throw error
    }
    await noteUnderWay(id)
    return "waiting"
  }

  async function prepare(
    archive: RestoredArchive,
    source: Pick<ArchiveStore, "stat" | "restore">,
    sourceKeys: readonly string[],
    signal: AbortSignal,
  ): Promise<Prepared> {
    await loaded()
    await freeOverdue()
    const id = idOf(archive)
    const before = asked.get(id)
    if (before !== undefined && now() < before.lookAt) return "waiting"
    if (before === undefined && cold.has(id) && asked.size >= most) return "full"

    const object = await find(source, sourceKeys, signal)
    if (object?.archival === undefined || source.restore === undefined) {
      await release(id)
      return "ready"
    }
    if (before !== undefined && now() >= before.since + PATIENCE_MS) {
      await release(id)
      return "ready"
    }
    if (object.archival.isRestoring) {
      await noteUnderWay(id)
      return "waiting"
    }
    const current = asked.get(id)
    if (current === undefined && asked.size >= most) {
      if (cold.size >= MOST_COLD) cold.clear()
      cold.add(id)
      return "full"
    }
    if (current !== undefined && now() < current.askAt) {
      current.lookAt = now() + LOOK_EVERY_MS
      return "waiting"
    }
    return ask(id, object, source, signal)
  }

  return {
    async prepare(...given) {
      try {
        return await prepare(...given)
      } catch (error) {
        if (isUnsealError(error)) error.side ??= "source"
        throw error
      }
    },
    async forget(archive) {
      await loaded()
      await release(idOf(archive))
    },
    get open() {
      return asked.size
    },
  }
}

const idOf = ({ projectId, archiveId }: RestoredArchive): string => `${projectId}_${archiveId}`

/** The first object that exists, which is the one that a worker would take. */
async function find(
  source: Pick<ArchiveStore, "stat">,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<StoredObject | null> {
  for (const key of keys) {
    const object = await source.stat(key, signal)
    if (object !== null) return object
  }
  return null
}
