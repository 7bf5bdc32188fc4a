/** Finds out with one request, for the record at the destination, whether an archive of a manifest is done already. */
import { isUnsealError } from "@unseal/archive/errors"
import { readRecord } from "@unseal/archive/record/committed"
import { recordKeyOf } from "@unseal/archive/record/record"
import { type ClaimedSource, isOfSource } from "@unseal/archive/record/same-source"
import type { ArchiveStore } from "@unseal/archive/store/contract"

/** What a line of a manifest says about its archive. */
export interface ClaimedArchive {
  readonly projectId: string
  /** A UUID in lower case. */
  readonly archiveId: string
  /** Bytes. */
  readonly size?: number | undefined
  /** Base64. */
  readonly sha256sum?: string | undefined
  /** Absent if the object has one of the project's usual keys. */
  readonly sourceKey?: string | undefined
}

/** An archive that need not be decrypted again. */
export interface Skip {
  readonly destinationKey: string
  /** Bytes of the ciphertext that it was made from. */
  readonly sourceSize: number
  /** The version that it was made from, comparable only within the source. */
  readonly sourceEtag: string
  /** ISO 8601. Absent if the record itself can't be read. */
  readonly finishedAt?: string
}

/**
 * What is at `destination` under `destinationKey` for `archive`, if its record says that it was made from the same source. `null`
 * if that is not certain; a worker must then find out. The record may be absent, malformed, or of another archive or project, or
 * it may differ from the line in key, size or digest. Throws what the store throws. A record in an archival storage class takes a
 * second request, for the marks of the archive beside it. With 64 calls at a time, a process makes more than 500 a second against
 * a store that takes a tenth of a second for each.
 */
export async function isDone(
  archive: ClaimedArchive,
  destination: Pick<ArchiveStore, "open" | "stat">,
  destinationKey: string,
  signal: AbortSignal,
): Promise<Skip | null> {
  const { sourceKey: key, size, sha256sum } = archive
  const claimed: ClaimedSource = {
    key,
    ...(size !== undefined && { size }),
    ...(sha256sum !== undefined && { sha256sum }),
  }
  try {
    const record = await readRecord(destination, recordKeyOf(destinationKey), signal)
    if (record === null) return null
    const { source, projectId, archiveId, finishedAt } = record
    const isOurs = projectId === archive.projectId && archiveId === archive.archiveId
    if (!isOurs || record.destination.key !== destinationKey || !isOfSource(record, claimed)) return null
    return { destinationKey, sourceSize: source.size, sourceEtag: source.etag, finishedAt }
  } catch (error) {
    if (!isUnsealError(error, "ERR_OBJECT_ARCHIVED")) throw error
    return byMarks(archive, destination, destinationKey, signal)
  }
}

/** The marks hold no key and no digest, so a worker must check a line that states one of them. */
async function byMarks(
  { projectId, archiveId, size, sha256sum, sourceKey }: ClaimedArchive,
  destination: Pick<ArchiveStore, "stat">,
  destinationKey: string,
  signal: AbortSignal,
): Promise<Skip | null> {
  if (sourceKey !== undefined || sha256sum) return null
  const { metadata = {} } = (await destination.stat(destinationKey, signal)) ?? {}
  const { "unseal-source-etag": sourceEtag, "unseal-source-size": text } = metadata
  const isOurs = metadata["unseal-project"] === projectId && metadata["unseal-archive"] === archiveId
  if (!isOurs || sourceEtag === undefined || text === undefined || !/^\d{1,15}$/.test(text)) return null
  const sourceSize = Number(text)
  return size === undefined || size === sourceSize ? { destinationKey, sourceSize, sourceEtag } : null
}
