/** Compares a record with what is known about a source before anybody has looked at it. */
import type { Announced } from "../decrypt/announced.ts"
import { ENVELOPES } from "../format/envelopes.ts"
import type { ArchiveRecord } from "./record.ts"

/** What a callback or a manifest says about an archive's source. */
export interface ClaimedSource extends Announced {
  /** The key of its object. Absent if it is one of the project's usual ones. */
  readonly key?: string | undefined
}

/** An announced size may count a block of padding that is not there. The record does not name its envelope. */
const TOLERANCE = Math.max(...ENVELOPES.map(({ blockSize }) => blockSize))

/** Whether `record` may belong to the version of the source that `claimed` describes: they differ in nothing that both state. */
export function isOfSource(record: ArchiveRecord, { key, size, sha256sum }: ClaimedSource): boolean {
  if (key !== undefined && key !== record.source.key) return false
  return fitsSize(record, size) && fitsDigest(record, sha256sum)
}

/** The vendor does not say whether its size is that of the ciphertext or of the plaintext. */
function fitsSize(
  { source, destination, tail, announced }: ArchiveRecord,
  size: number | undefined,
): boolean {
  if (size === undefined || size === announced?.size) return true
  const plaintext = Math.min(destination.size, source.size - tail.padding)
  return size >= plaintext - TOLERANCE && size <= source.size + TOLERANCE
}

/**
 * The vendor does not say whether its digest is that of the ciphertext or of the plaintext. So a record without the ciphertext's
 * digest contradicts nothing.
 */
function fitsDigest({ sha256 }: ArchiveRecord, sha256sum: string | undefined): boolean {
  if (!sha256sum || sha256?.ciphertext === undefined) return true
  const digest = Buffer.from(sha256sum, "base64").toString("hex")
  return digest === sha256.ciphertext || digest === sha256.plaintext
}
