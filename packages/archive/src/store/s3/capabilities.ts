/** How a body is protected in transit. */
export type Protection = "crc32" | "md5" | "none"

/**
 * What a bucket's store has shown about itself. S3 has no call for that, and asking before every object costs requests. With
 * these, and with the first read serving as the look at the source, a small archive takes four requests instead of eight.
 */
export interface S3Capabilities {
  /** How bodies are protected in transit. */
  protection: Protection
  /** Whether a request with a checksum header was ever accepted. */
  checksumTaken: boolean
  /** What CompleteMultipartUpload is sent with. Reduced once the store has refused it. */
  complete: { readonly condition: boolean; readonly checksums: boolean }
  /** Whether the bucket existed a moment ago, so that a 404 is about the key. */
  readonly bucketSeen: boolean
  seeBucket(): void
  /**
   * Whether listing the bucket is allowed, so that a missing key answers 404. `allowed` is final: a denial after it means that
   * permissions were lost. `denied` is tried again after a minute.
   */
  readonly listing: "unknown" | "allowed" | "denied"
  noteListing(allowed: boolean): void
  /**
   * Whether PutObject honours `If-None-Match: *`. A store that doesn't may say so, or silently replace the object. So it is known
   * only after an existing object has been written again in vain.
   */
  conditionalPut: "unknown" | "being tried" | "heeded" | "ignored"
  /** Whether the last answer to this operation contained the body's CRC-32. Then the store verifies it, and nobody else need. */
  verifies(operation: Checked): boolean
  /** Records the `checksum` in an answer to `operation`. */
  noteChecksum(operation: Checked, checksum: string | undefined): void
  /** How many objects of one part were made visible under the condition. For one alone, a trial costs more than it saves. */
  conditionalPuts: number
}

/** Operations that carry a body. */
type Checked = "PutObject" | "UploadPart"

/** The longest time until a removed bucket is noticed. */
const SEEN_MS = 60_000

/** Starts with nothing known. */
export function createCapabilities(protection: Protection): S3Capabilities {
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
