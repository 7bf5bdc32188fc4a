/** Finds what is already at the destination, and whether an earlier run of the same job put it there. */
import { z } from "zod"
import { counted } from "../counted.ts"
import type { ArchiveKey } from "../decrypt/archive-key.ts"
import type { Checkpoint } from "../decrypt/checkpoint.ts"
import type { Prover } from "../decrypt/proof.ts"
import { isUnsealError, UnsealError } from "../errors.ts"
import type { TailRule } from "../format/tail.ts"
import type { ArchiveStore, CreateOptions, StoredObject } from "../store/contract.ts"
import { copied, writeSmallObject } from "../store/small-object.ts"
import { type ArchiveRecord, encodeRecord, finishRecord, parseRecord, recordKeyOf } from "./record.ts"
import { type VerifyRule, verifyCommit } from "./verify.ts"

/** Larger than any record. */
const RECORD_LIMIT = 64 * 1024

/** The metadata that marks a decrypted object. Objects with the same marks have the same bytes. */
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

/** The state of the destination. */
export interface Look {
  readonly store: ArchiveStore
  readonly existing: StoredObject
  readonly source: StoredObject
  readonly create: Pick<CreateOptions, "metadata" | "existing" | "moved">
  readonly checkpoint: Checkpoint | null
  readonly key: ArchiveKey
  readonly verify: VerifyRule
}

/**
 * Looks at the destination. `ours`: its object has the marks in `create.metadata`. The record comes with it if it is stored, or
 * if the checkpoint still holds it; then it is written. `broken`: the object has the marks, but not the bytes that the sealed
 * record describes. Throws `ERR_DESTINATION_EXISTS` for any other object, unless it may be replaced.
 */
export async function findCommitted(
  { store, existing, source, create, checkpoint, key, verify }: Look,
  signal: AbortSignal,
): Promise<{ found: "ours" | "broken" | "another"; record?: ArchiveRecord }> {
  if (!hasMarks(existing, create.metadata)) {
    if (create.existing === "replace") return { found: "another" }
    throw new UnsealError(
      "ERR_DESTINATION_EXISTS",
      `${store.location} holds another object of ${counted(existing.size, "byte")} under ${existing.key}, not made from this source of ${counted(source.size, "byte")}`,
    )
  }
  const record = await readRecord(store, recordKeyOf(existing.key), signal)
  if (record && isOf(record, existing, source)) return { found: "ours", record }

  // An empty archive has a key that everybody knows, so it proves nothing.
  const sealed = source.size > 0 ? await unsealRecord(checkpoint?.record, key) : null
  if (sealed?.source.etag !== source.etag || sealed.destination.key !== existing.key) return { found: "ours" }
  try {
    await verifyCommit(store, existing, sealed, verify, signal, create.moved)
    const kept = finishRecord(sealed, existing)
    await writeRecord(store, kept, signal)
    return { found: "ours", record: kept }
  } catch (error) {
    if (isUnsealError(error, "ERR_COMMIT_MISMATCH")) return { found: "broken" }
    throw error
  }
}

const sealedSchema = z.object({ record: z.string(), proof: z.string() })

/** Seals a record for its way through a checkpoint. */
export function sealRecord(record: ArchiveRecord, prover: Prover): z.infer<typeof sealedSchema> {
  const text = JSON.stringify(record)
  return { record: text, proof: prover.prove("record", text) }
}

/** The record that `sealRecord` sealed for this archive; `null` for anything else. */
async function unsealRecord(sealed: unknown, key: ArchiveKey): Promise<ArchiveRecord | null> {
  const { data } = sealedSchema.safeParse(sealed)
  if (data === undefined) return null
  const { prover } = await key.unlock()
  return prover.confirms(data.proof, "record", data.record) ? parseRecord(Buffer.from(data.record)) : null
}

/** Whether `object` carries all of these marks. `false` if there are none. */
export function hasMarks(object: StoredObject, metadata: Readonly<Record<string, string>>): boolean {
  const marks = Object.entries(metadata)
  return marks.length > 0 && marks.every(([name, value]) => object.metadata[name] === value)
}

/** The record under `key`, with one request where the store can do that; `null` if there is no valid one. */
export async function readRecord(
  store: Pick<ArchiveStore, "open">,
  key: string,
  signal: AbortSignal,
): Promise<ArchiveRecord | null> {
  try {
    const opened = await store.open(key, RECORD_LIMIT, signal)
    if (opened === null) return null
    if (opened.object.size > RECORD_LIMIT) {
      opened.close()
      return null
    }
    return parseRecord(Buffer.concat(await Array.fromAsync(copied(opened.head))))
  } catch (error) {
    // It was removed after the look. Elsewhere this code means the source's object.
    if (isUnsealError(error, "ERR_OBJECT_NOT_FOUND")) return null
    throw error
  }
}

/**
 * Writes the record beside its archive. It replaces the record of another version, but not one of the same version, which
 * another run of this job wrote. So a record never changes, although two runs have different start times.
 */
export async function writeRecord(
  store: ArchiveStore,
  record: ArchiveRecord,
  signal: AbortSignal,
): Promise<void> {
  const key = recordKeyOf(record.destination.key)
  // Distinguishes records of equal length: two with the same marks belong to the same job.
  const metadata = {
    "unseal-destination-etag": record.destination.etag,
    "unseal-source-etag": record.source.etag,
  }
  const write = (existing: "fail" | "replace") =>
    writeSmallObject(store, key, encodeRecord(record), "application/json", signal, { metadata, existing })
  try {
    await write("fail")
  } catch (error) {
    if (!isUnsealError(error, "ERR_DESTINATION_EXISTS")) throw error
    const found = await readRecord(store, key, signal)
    if (!found || !isOf(found, record.destination, record.source)) await write("replace")
  }
}

/** Whether `record` describes this version at the destination, made from this version of the source. */
const isOf = (
  record: ArchiveRecord,
  destination: { readonly etag: string },
  source: { readonly etag: string },
): boolean => record.destination.etag === destination.etag && record.source.etag === source.etag
