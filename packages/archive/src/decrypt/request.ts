/** What is asked of the mission (decrypt.ts): an archive, and how it is to be done. */

import type { KeyRing } from "../format/key-ring.ts"
import type { TailRule } from "../format/tail.ts"
import type { VerifyRule } from "../record/verify.ts"
import type { ArchiveSource, ArchiveStore } from "../store/contract.ts"
import type { Announced } from "./announced.ts"
import type { ByteBudget } from "./budget.ts"
import type { CheckpointLog } from "./checkpoint.ts"
import type { PartObserver } from "./parts.ts"

/** One archive: where it is, where it goes, and the password that came with it. */
export interface ArchiveRequest {
  readonly archiveId: string
  readonly projectId: string
  /** As the callback brought it: base64. */
  readonly encryptedPassword: string
  readonly source: ArchiveSource
  /** Keys to look under, in this order. */
  readonly sourceKeys: readonly string[]
  readonly destination: ArchiveStore
  readonly destinationKey: string
  /** What the callback said of the archive. */
  readonly announced?: Announced
}

export interface DecryptOptions {
  readonly keyRing: KeyRing
  readonly budget: ByteBudget
  readonly tail: TailRule
  /** `none` leaves the CRC-32, which costs less and need not be in order. */
  readonly digest: "sha256" | "none"
  /** A destination with other content: refuse it, or replace it. */
  readonly existing: "fail" | "replace"
  /** `require` refuses an archive whose announced `sha256sum` is neither the ciphertext's nor the plaintext's. */
  readonly announcedDigest?: "record" | "require"
  /** `require` waits (`ERR_OBJECT_INCOMPLETE`) for an object of the announced size, give or take a block. */
  readonly announcedSize?: "record" | "require"
  /** Of the packets, how many may be without a sync byte: 0 to 1. Default: a half. */
  readonly maxDamage?: number
  /** How far the destination's word is taken that an object is complete. Default: `size`. */
  readonly verify?: VerifyRule
  /** Leave the record and the marks that tell a later run what the object was made from. Off for a single archive by hand. */
  readonly record: boolean
  /** Where to resume from and to leave a trace; absent, any failure removes what was uploaded. */
  readonly checkpoint?: CheckpointLog
  /** Confirms, right before the object becomes visible, that this run still owns the archive; throws if not. */
  readonly fence?: () => Promise<void>
  /** 1 for the first. */
  readonly attempt?: number
  /** Whether an earlier run of this archive may have begun an upload that no checkpoint names. Off if left out. */
  readonly startedBefore?: boolean
  readonly observe?: PartObserver
}
