/** One version of an archive, pinned from the first look at it to its last byte. */
import { UnsealError } from "../errors.ts"
import type { ByteRange } from "../format/parts.ts"
import type { ArchiveSource, OpenedObject, StoredObject } from "../store/contract.ts"

export interface PinnedArchive {
  readonly object: StoredObject
  /** Like `ArchiveSource.read`, for this version. */
  read(range: ByteRange, signal: AbortSignal): AsyncIterable<Uint8Array>
  /** Releases the prefetched head if nobody has read it. */
  close(): void
}

/**
 * Pins the first of `keys` that holds an archive. Throws `ERR_OBJECT_NOT_FOUND` if none does. Requests the archive's first `ahead`
 * bytes together with the look, which saves one request per archive; the first read that covers them uses them.
 */
export async function pinArchive(
  source: ArchiveSource,
  keys: readonly string[],
  ahead: number,
  signal: AbortSignal,
): Promise<PinnedArchive> {
  for (const key of keys) {
    const opened = await source.open(key, ahead, signal)
    if (opened !== null) return pinned(source, opened, ahead)
  }
  const where = source.location === undefined ? "" : ` in ${source.location}`
  const message = `no object under ${keys.join(" or ")}${where}`
  const permission = source.missingPermission?.() ?? null
  if (permission === null) throw new UnsealError("ERR_OBJECT_NOT_FOUND", message)
  throw new UnsealError(
    "ERR_OBJECT_NOT_FOUND",
    `${message}, or the credentials can't see it: they lack the permission ${permission}`,
    {
      remedy: `give the credentials the permission ${permission} (docs/permissions.md), so that a missing object can be told from a forbidden one; if the object is missing, check where the vendor uploads it, and under which key`,
    },
  )
}

function pinned(source: ArchiveSource, { object, head, close }: OpenedObject, ahead: number): PinnedArchive {
  const headEnd = Math.min(ahead, object.size)
  let isThere = headEnd > 0

  async function* fromHead(end: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    for await (const piece of head) {
      signal.throwIfAborted()
      yield piece
    }
    if (headEnd < end) yield* source.read(object, { start: headEnd, end }, signal)
  }

  return {
    object,
    read(range, signal) {
      if (!isThere || range.start > 0 || range.end < headEnd) return source.read(object, range, signal)
      isThere = false
      return fromHead(range.end, signal)
    },
    close() {
      if (isThere) close()
      isThere = false
    },
  }
}
