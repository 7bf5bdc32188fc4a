/** What is at the destination already, and whether an earlier run of the same work put it there. */
import type { Checkpoint } from "./checkpoint.ts"
import { isUnsealError, UnsealError } from "./errors.ts"
import type { TailRule } from "./format/tail.ts"
import {
  type ArchiveRecord,
  archiveRecordSchema,
  encodeRecord,
  finishRecord,
  parseRecord,
  recordKeyOf,
} from "./record.ts"
import type { ArchiveStore, CreateOptions, StoredObject } from "./store/contract.ts"
import { readWhole, writeWhole } from "./store/whole.ts"

/** Larger than any record. */
const RECORD_LIMIT = 64 * 1024

/** The marks on a decrypted object: two objects with the same marks have the same bytes. */
export function metadataOf(
  archive: { readonly archiveId: string; readonly projectId: string },
  source: StoredObject,
  tail: TailRule,
): Record<string, string> {
  return {
    "unseal-project": archive.projectId,
    "unseal-archive": archive.archiveId,
    "unseal-source-etag": source.etag,
    "unseal-source-size": String(source.size),
    "unseal-tail": tail,
  }
}

/**
 * `ours` if `found`, the object at the destination, has the marks in `create.metadata`; with its record if there is one, or if
 * the `checkpoint` still has it (it is written then). Another object is `ERR_DESTINATION_EXISTS`, unless it may be replaced.
 */
export async function findCommitted(
  store: ArchiveStore,
  found: StoredObject,
  source: StoredObject,
  create: Pick<CreateOptions, "metadata" | "existing">,
  checkpoint: Checkpoint | null,
  signal: AbortSignal,
): Promise<{ ours: boolean; record?: ArchiveRecord }> {
  if (!hasMarks(found, create.metadata)) {
    if (create.existing === "replace") return { ours: false }
    throw new UnsealError(
      "ERR_DESTINATION_EXISTS",
      `${store.location} holds another object of ${found.size} bytes under ${found.key}, not made from this source of ${source.size} bytes`,
    )
  }
  const record = await readRecord(store, recordKeyOf(found.key), signal)
  if (record && isOf(record, found, source)) return { ours: true, record }

  const sealed = archiveRecordSchema.safeParse(checkpoint?.record)
  if (
    !sealed.success ||
    sealed.data.source.etag !== source.etag ||
    sealed.data.destination.size !== found.size
  )
    return { ours: true }
  const kept = finishRecord(sealed.data, found)
  await writeRecord(store, kept, signal)
  return { ours: true, record: kept }
}

function hasMarks(object: StoredObject, metadata: Readonly<Record<string, string>>): boolean {
  const marks = Object.entries(metadata)
  return marks.length > 0 && marks.every(([name, value]) => object.metadata[name] === value)
}

async function readRecord(
  store: ArchiveStore,
  key: string,
  signal: AbortSignal,
): Promise<ArchiveRecord | null> {
  const object = await store.stat(key, signal)
  if (object === null || object.size > RECORD_LIMIT) return null
  return parseRecord(await readWhole(store, object, RECORD_LIMIT, signal))
}

/**
 * Writes the record beside its archive: over that of another version of it, but not over one of the same, which another run of
 * this work has written. So a record has one content, although two runs differ in when they began.
 */
export async function writeRecord(
  store: ArchiveStore,
  record: ArchiveRecord,
  signal: AbortSignal,
): Promise<void> {
  const key = recordKeyOf(record.destination.key)
  // What tells records of one length apart: two with the same marks are of the same work.
  const metadata = {
    "unseal-destination-etag": record.destination.etag,
    "unseal-source-etag": record.source.etag,
  }
  const write = (existing: "fail" | "replace") =>
    writeWhole(store, key, encodeRecord(record), "application/json", signal, { metadata, existing })
  try {
    await write("fail")
  } catch (error) {
    if (!isUnsealError(error, "ERR_DESTINATION_EXISTS")) throw error
    const found = await readRecord(store, key, signal)
    if (!found || !isOf(found, record.destination, record.source)) await write("replace")
  }
}

/** Whether `record` is of this version at the destination, made from this version of the source. */
const isOf = (
  record: ArchiveRecord,
  destination: { readonly etag: string },
  source: { readonly etag: string },
): boolean => record.destination.etag === destination.etag && record.source.etag === source.etag
