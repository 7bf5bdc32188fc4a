/** An archive of the simulated cloud: what it is to become, and what is known of it. */
import type { ArchiveStore } from "@unseal/archive/store/contract"
import type { ArchiveSettings, ArchiveStatus, CallbackSubject } from "./callback-body.ts"
import type { Delivery } from "./callbacks.ts"
import type { Recording, Tail } from "./recording.ts"

export interface RecordOptions {
  /** Bytes, and how they are meant: see `RecordingOptions`. */
  readonly size: number
  readonly exact?: boolean
  /** Default `pkcs7`. */
  readonly tail?: Tail
  readonly name?: string
  /** Of the vendor; a new one if left out. */
  readonly sessionId?: string
  /** The usual ones if left out. */
  readonly settings?: Partial<ArchiveSettings>
  /**
   * What happens, in the order in which it is called back; by default the vendor's usual one. The upload is made right
   * before the first `uploaded` or `available`, and not at all without one.
   */
  readonly statuses?: readonly ArchiveStatus[]
  /** How many times more each callback is sent, at the same time. Default 0. */
  readonly duplicates?: number
  /** The callbacks' `reason`, for `failed`. */
  readonly reason?: string
  /** The callbacks' `url`, for `available`; the object is then in the customer's store. */
  readonly url?: string
}

export const USUAL_STATUSES = ["started", "stopped", "uploaded"] as const satisfies ArchiveStatus[]
/** What the vendor says may happen with very small archives. */
export const DISORDERED_STATUSES = ["started", "uploaded", "stopped"] as const satisfies ArchiveStatus[]

export interface SentCallback {
  readonly status: ArchiveStatus
  /** The JSON as it was sent. */
  readonly body: string
  /** `null` until it has ended. */
  readonly delivery: Delivery | null
}

/** An archive as the cloud keeps it: what the customer may know, and the digests to compare a decryption with. */
export interface Archive extends CallbackSubject {
  readonly key: string
  readonly tail: Tail
  readonly status: ArchiveStatus
  readonly recording: Pick<Recording, "contentSize" | "size" | "encryptedPassword"> | null
  readonly callbacks: readonly SentCallback[]
  /** The object is in the vendor's storage, not in the customer's store. */
  readonly inVendorStorage?: true
}

/** The vendor's own storage, for archives that are `available` instead of `uploaded`. */
export interface VendorStorage {
  readonly store: ArchiveStore
  /** A new URL to download the archive's copy from. */
  urlOf(archive: Archive): string
}

/** Archives change while they are recorded, for archive-run.ts only. */
export type Mutable<T> = { -readonly [Name in keyof T]: T[Name] }
