/** What unlocks one archive, from its first use to the end of the run. */
import type { UnwrappedContentKey } from "../format/content-key.ts"
import { wipe } from "../format/password.ts"
import { createProver, type Prover } from "./proof.ts"

export interface UnlockedKey extends UnwrappedContentKey {
  /** Proves what is kept between runs. */
  readonly prover: Prover
}

export interface ArchiveKey {
  /** Unwraps the password, once. Throws the errors of `unwrapContentKey`. */
  unlock(): Promise<UnlockedKey>
  /** Wipes what was unlocked. */
  close(): void
}

export function createArchiveKey(unwrap: () => Promise<UnwrappedContentKey>): ArchiveKey {
  let unlocked: UnlockedKey | undefined
  let closed = false
  function wipeAll(): void {
    unlocked?.prover.close()
    wipe(unlocked?.contentKey.key, unlocked?.contentKey.iv)
  }
  return {
    async unlock() {
      if (unlocked === undefined) {
        const unwrapped = await unwrap()
        unlocked = { ...unwrapped, prover: createProver(unwrapped.contentKey) }
        // The run did not wait for it.
        if (closed) wipeAll()
      }
      return unlocked
    },
    close() {
      closed = true
      wipeAll()
    },
  }
}
