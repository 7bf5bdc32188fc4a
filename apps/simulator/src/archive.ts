/** An archive of the simulated cloud: what a customer requests, and what the cloud knows about it. */
import type { ArchiveStore } from "@unseal/archive/store/contract"
import type { ArchiveSettings, ArchiveStatus, CallbackSubject } from "./callbacks/body.ts"
import type { Delivery } from "./callbacks/send.ts"
import type { Recording, Tail } from "./recording/recording.ts"

export interface RecordOptions {
  /** Bytes, interpreted as `RecordingOptions` says. */
  readonly size: number
  readonly exact?: boolean
  /** Default `pkcs7`. */
  readonly tail?: Tail
  readonly name?: string
  /** The vendor's id; a new one if left out. */
  readonly sessionId?: string
  /** Defaults to the vendor's usual settings. */
  readonly settings?: Partial<ArchiveSettings>
  /**
   * The statuses in callback order; by default the vendor's usual ones. The upload happens right before the first `uploaded`
   * or `available`, or never if there is neither.
   */
  readonly statuses?: readonly ArchiveStatus[]
  /** How many extra copies of each callback are sent at the same time. Default 0. */
  readonly duplicates?: number
  /** The `reason` in callbacks with status `failed`. */
  readonly reason?: string
  /** The `url` in callbacks with status `available`; the object is then in the customer's store. */
  readonly url?: string
}

export const USUAL_STATUSES = ["started", "stopped", "uploaded"] as const satisfies ArchiveStatus[]
/** The order of statuses that the vendor documents as possible for very small archives. */
export const DISORDERED_STATUSES = ["started", "uploaded", "stopped"] as const satisfies ArchiveStatus[]

export interface SentCallback {
  readonly status: ArchiveStatus
  /** The JSON exactly as sent. */
  readonly body: string
  /** `null` until the callback has ended. */
  readonly delivery: Delivery | null
}

/** An archive as the cloud keeps it: what the customer may know, and the digests to check a decryption against. */
export interface Archive extends CallbackSubject {
  readonly key: string
  readonly tail: Tail
  readonly status: ArchiveStatus
  readonly recording: Pick<Recording, "contentSize" | "size" | "encryptedPassword"> | null
  readonly callbacks: readonly SentCallback[]
  /** The object is in the vendor's storage instead of the customer's store. */
  readonly inVendorStorage?: true
}

/** The vendor's own storage, for archives that are `available` instead of `uploaded`. */
export interface VendorStorage {
  readonly store: ArchiveStore
  /** Makes a new download URL for the archive's copy. */
  urlOf(archive: Archive): string
}

/** Only archive-run.ts uses it: archives change while they are recorded. */
export type Mutable<T> = { -readonly [Name in keyof T]: T[Name] }
