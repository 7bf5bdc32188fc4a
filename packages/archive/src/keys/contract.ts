import type { Certificate } from "../format/certificate.ts"
import type { KeyRing } from "../format/key-ring.ts"

/** A key that is currently unusable. */
export interface KeyProblem {
  /** The key's name in its ring: a file name. */
  readonly name: string
  /** The reason, with a code: `ERR_KEY_INVALID`, or the file system's. */
  readonly error: Error
}

/** Something an operator should know about a ring, although it prevents nothing. */
export interface KeyNote {
  /** The name of the key, or of what is not taken for one. */
  readonly name: string
  /** `exposed`: more people than necessary can read the key · `ignored`: something in the ring is not looked into. */
  readonly kind: "exposed" | "ignored"
  /** A clause that makes sense without the name. */
  readonly message: string
}

/** An open key ring, wherever its keys are. No call may follow `close`. */
export interface OpenedKeyRing extends KeyRing {
  /** Where the keys are, for messages: the directory's path, or a URL without secrets. */
  readonly location: string
  /** The keys that are currently unusable. A key that was usable before is used in its earlier state. */
  problems(): readonly KeyProblem[]
  notes(): readonly KeyNote[]
  /** The certificates of its keys, as far as the ring has them. */
  certificates(): readonly Certificate[]
  /** Looks at the keys now, instead of when a password needs them. Throws `ERR_KEY_SERVICE_UNAVAILABLE`. */
  refresh(signal?: AbortSignal): Promise<void>
  /** When the last successful look began, in milliseconds on the clock of `Date.now`. The result of `unwrap` is as old as that. */
  lookedAt(): number
  close(): Promise<void>
}
