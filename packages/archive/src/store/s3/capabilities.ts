/** How a body is protected on its way. */
export type Protection = "crc32" | "md5" | "none"

/**
 * What a bucket's store has shown of itself. S3 has no call that tells what a store can do, and to ask before every object costs
 * requests: with these, and with the look at the source being its first read, a small archive takes four instead of eight.
 */
export interface S3Abilities {
  /** How bodies are protected on their way. */
  protection: Protection
  /** Whether a request with a checksum header was ever taken. */
  checksumTaken: boolean
  /** What CompleteMultipartUpload is asked with; less, once the store has refused it. */
  complete: { readonly condition: boolean; readonly checksums: boolean }
  /** Whether the bucket has been there a moment ago, so that a 404 is about the key. */
  readonly bucketSeen: boolean
  seeBucket(): void
  /**
   * Whether the bucket may be listed, and so a missing key answers 404. `allowed` stays for good: if it is denied after that,
   * permissions were lost. `denied` is asked again after a minute.
   */
  readonly listing: "unknown" | "allowed" | "denied"
  noteListing(allowed: boolean): void
  /**
   * Whether PutObject heeds `If-None-Match: *`. A store that does not may say so, or replace what is there without a word: so
   * it is known only when an object that is there has been written once more in vain.
   */
  conditionalPut: "unknown" | "being tried" | "heeded" | "ignored"
  /** Whether the last answer to this operation had the body's CRC-32 in it: the store verifies it then, and nobody else need. */
  verifies(operation: Checked): boolean
  /** `checksum` is what an answer to `operation` had in it. */
  noteChecksum(operation: Checked, checksum: string | undefined): void
  /** Objects of one part that were made visible under the condition: for one alone, finding out would cost more than it saves. */
  conditionalPuts: number
}

/** What carries a body. */
type Checked = "PutObject" | "UploadPart"

/** A bucket that was removed is noticed after so long, at the latest. */
const SEEN_MS = 60_000

/** Nothing is known yet. */
export function createAbilities(protection: Protection): S3Abilities {
  let seenUntil = Number.NEGATIVE_INFINITY
  let listed = false
  let deniedUntil = Number.NEGATIVE_INFINITY
  const verified = new Set<Checked>()
  return {
    get bucketSeen() {
      return performance.now() < seenUntil
    },
    seeBucket() {
      seenUntil = performance.now() + SEEN_MS
    },
    get listing() {
      if (listed) return "allowed"
      return performance.now() < deniedUntil ? "denied" : "unknown"
    },
    noteListing(allowed) {
      if (allowed) listed = true
      else deniedUntil = performance.now() + SEEN_MS
    },
    verifies: (operation) => verified.has(operation),
    noteChecksum(operation, checksum) {
      if (checksum === undefined) verified.delete(operation)
      else verified.add(operation)
    },
    protection,
    checksumTaken: false,
    complete: { condition: true, checksums: true },
    conditionalPut: "unknown",
    conditionalPuts: 0,
  }
}
