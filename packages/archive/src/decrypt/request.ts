/** A request to decrypt one archive (archive.ts), and how to do it. */

import type { KeyRing } from "../format/key-ring.ts"
import type { TailRule } from "../format/tail.ts"
import type { VerifyRule } from "../record/verify.ts"
import type { ArchiveSource, ArchiveStore } from "../store/contract.ts"
import type { Announced } from "./announced.ts"
import { type ByteBudget, createByteBudget } from "./budget.ts"
import type { CheckpointLog } from "./checkpoint.ts"
import type { PartObserver } from "./parts.ts"

/** One archive: where it is, where it goes, and its encrypted password. */
export interface ArchiveRequest {
  readonly archiveId: string
  readonly projectId: string
  /** As in the callback: base64. */
  readonly encryptedPassword: string
  readonly source: ArchiveSource
  /** The keys to look under, in this order. */
  readonly sourceKeys: readonly string[]
  readonly destination: ArchiveStore
  readonly destinationKey: string
  /** What the callback announced about the archive. */
  readonly announced?: Announced
}

export interface DecryptOptions {
  readonly keyRing: KeyRing
  /** The memory for parts, which several archives may share. Default: 64 MiB for this archive. */
  readonly budget?: ByteBudget
  /** Default: `keep`, which gives what `openssl enc -d -nopad` gives. */
  readonly tail?: TailRule
  /** `none` leaves only the CRC-32, which costs less and needs no order. Default: `sha256`. */
  readonly digest?: "sha256" | "none"
  /** What to do if the destination has other content: refuse it, or replace it. Default: `fail`. */
  readonly existing?: "fail" | "replace"
  /** `require` refuses an archive whose announced `sha256sum` is neither the ciphertext's nor the plaintext's. */
  readonly announcedDigest?: "record" | "require"
  /** `require` waits (`ERR_OBJECT_INCOMPLETE`) until the object has the announced size, give or take a block. */
  readonly announcedSize?: "record" | "require"
  /** The tolerated share of packets without a sync byte, 0 to 1. Default: a half. */
  readonly maxDamage?: number
  /** How thoroughly to verify that the destination completed the object. Default: `size`. */
  readonly verify?: VerifyRule
  /**
   * Whether to leave the record, and the marks that say what the object was made from. Off for a single archive on the command
   * line. Default: on.
   */
  readonly record?: boolean
  /** Where progress is kept for the next run. Without it, any failure removes what was uploaded. */
  readonly checkpoint?: CheckpointLog
  /** Confirms, right before the object becomes visible, that this run still owns the archive. Throws if not. */
  readonly fence?: () => Promise<void>
  /** 1 for the first attempt. */
  readonly attempt?: number
  /** Whether an earlier run of this archive may have begun an upload that no checkpoint names. Default: no. */
  readonly startedBefore?: boolean
  readonly observe?: PartObserver
}

type Defaulted = "budget" | "tail" | "digest" | "existing" | "record"

/** The options of a run, with the defaults of those that are not given. */
export type RunOptions = DecryptOptions & Required<Pick<DecryptOptions, Defaulted>>

/** Eight parts of the usual size. */
const DEFAULT_BUDGET_BYTES = 64 * 1024 * 1024

export const withDefaults = (options: DecryptOptions): RunOptions => ({
  ...options,
  budget: options.budget ?? createByteBudget(DEFAULT_BUDGET_BYTES),
  tail: options.tail ?? "keep",
  digest: options.digest ?? "sha256",
  existing: options.existing ?? "fail",
  record: options.record ?? true,
})
