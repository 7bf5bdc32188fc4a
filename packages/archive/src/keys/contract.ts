import type { Certificate } from "../format/certificate.ts"
import type { KeyRing } from "../format/key-ring.ts"

/** A key that can't be used at the moment. */
export interface KeyProblem {
  /** Of the key in its ring: a file name. */
  readonly name: string
  /** Why, with a code: `ERR_KEY_INVALID`, or the file system's reason. */
  readonly error: Error
}

/** What an operator should know of a ring, though it hinders nothing. */
export interface KeyNote {
  /** Of the key, or of what was taken for none. */
  readonly name: string
  /** More people than should can read the key, or something in the ring is not looked into. */
  readonly kind: "exposed" | "ignored"
  /** A clause that can be read without the name. */
  readonly message: string
}

/** A key ring that is open, wherever its keys are. No call may follow `close`. */
export interface OpenedKeyRing extends KeyRing {
  /** Where the keys are, for messages: the directory's path, or a URL without anything secret. */
  readonly location: string
  /** The keys that can't be used as they are now. One that was usable before is used as it was meanwhile. */
  problems(): readonly KeyProblem[]
  notes(): readonly KeyNote[]
  /** The certificates of its keys, as far as the ring has them. */
  certificates(): readonly Certificate[]
  /** Looks at the keys now, rather than when a password needs them. `ERR_KEY_SERVICE_UNAVAILABLE`. */
  refresh(signal?: AbortSignal): Promise<void>
  /** When the last look that succeeded began, in milliseconds on the clock of `Date.now`. What `unwrap` gives is as old as that. */
  lookedAt(): number
  close(): Promise<void>
}
