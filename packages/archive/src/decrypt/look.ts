/** The first step of a run: looks at what is at the source and at the destination. */

import { NO_CONTENT_KEY, unwrapContentKey } from "../format/content-key.ts"
import type { Held } from "../held.ts"
import { findCommitted, metadataOf } from "../record/committed.ts"
import type { ArchiveRecord } from "../record/record.ts"
import type { CreateOptions, StoredObject } from "../store/contract.ts"
import { type ArchiveKey, createArchiveKey } from "./archive-key.ts"
import type { Checkpoint } from "./checkpoint.ts"
import { type PinnedArchive, pinArchive } from "./pinned.ts"
import type { ArchiveRequest, RunOptions } from "./request.ts"
import { discardUpload } from "./resume.ts"

/** An archive and its surroundings, as the look found them. The later steps work on this. */
export interface Found {
  readonly archive: PinnedArchive
  readonly key: ArchiveKey
  readonly checkpoint: Checkpoint | null
  /** The object at the destination, if it is this archive's and only its record is missing. */
  readonly ours: StoredObject | null
  readonly create: CreateOptions
}

/**
 * Pins the source's version, and checks whether the destination already has its plaintext. Adds to `held` what must be released.
 */
export async function look(
  request: ArchiveRequest,
  options: RunOptions,
  held: Held,
  signal: AbortSignal,
): Promise<Found | { record: ArchiveRecord }> {
  const { source, sourceKeys, destination } = request
  // Most archives are written in parts of this size, or have it as their first part.
  const pinning = pinArchive(source, sourceKeys, destination.partSizeFor(0), signal)
  held.defer(
    () =>
      void pinning.then(
        (archive) => archive.close(),
        () => {},
      ),
  )
  const [archive, existing, checkpoint] = await Promise.all([
    pinning,
    destination.stat(request.destinationKey, signal),
    options.checkpoint?.load() ?? null,
  ])
  const create = {
    contentType: "video/mp2t",
    metadata: options.record ? metadataOf(request, archive.object, options.tail) : {},
    existing: options.existing,
    ...(options.observe?.moved && { moved: options.observe.moved }),
  }
  // An empty archive needs no key, and its password may be encrypted for any key.
  const key = createArchiveKey(async () =>
    archive.object.size === 0
      ? { contentKey: NO_CONTENT_KEY }
      : unwrapContentKey(options.keyRing, request.encryptedPassword, signal),
  )
  held.defer(key.close)
  const looked = { archive, key, checkpoint, create, ours: null }
  if (existing === null) return looked
  const rule = options.verify ?? "size"
  const { found, record } = await findCommitted(
    { store: destination, existing, source: archive.object, create, checkpoint, key, verify: rule },
    signal,
  )
  // Whoever made the object, nobody will complete the upload that the checkpoint still names.
  if (found !== "another" && checkpoint?.upload) await discardUpload(destination, checkpoint.upload)
  if (record !== undefined) return { record }
  if (found === "broken") return { ...looked, create: replacing(create) }
  return { ...looked, ours: found === "ours" ? existing : null }
}

/** An object with this archive's marks but other bytes comes from a failed commit, and may be replaced. */
export const replacing = (create: CreateOptions): CreateOptions => ({ ...create, existing: "replace" })
