import type { DecryptResult } from "@unseal/archive/decrypt/archive"
import type { ANNOUNCED_SIZES } from "../metrics.ts"

/** What is logged, and kept with the job, of a committed archive. */
export type JobResult = {
  readonly outcome: DecryptResult["outcome"]
  readonly destinationKey: string
  /** Bytes of plaintext. */
  readonly size: number
  readonly tail: DecryptResult["record"]["tail"]["form"]
  readonly syncErrors: number
  readonly announcedSize: (typeof ANNOUNCED_SIZES)[number]
}
