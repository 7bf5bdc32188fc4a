/** What a run leaves behind so that the next one need not repeat it. */

/** What an upload contains. */
export interface Work {
  readonly destinationKey: string
  readonly sourceKey: string
  readonly sourceEtag: string
  /** Bytes. */
  readonly sourceSize: number
  /** Bytes. */
  readonly plaintextSize: number
}

/** The upload that a run began. */
export interface CheckpointUpload extends Work {
  /** The token of the `PartWriter`. */
  readonly token: string
  /** Bytes. */
  readonly partSize: number
}

/** A part that was decrypted and written. */
export interface PartReceipt {
  /** Bytes of plaintext. */
  readonly size: number
  /** The store's answer. The part is trusted only if the store still gives the same answer. */
  readonly tag: string
  /** CRC-32 of the part's plaintext. */
  readonly crc32: number
  readonly syncErrors: number
  /** Proves that a run with the content key found all this (proof.ts). Without it the part is done again. */
  readonly proof?: string | undefined
}

export interface Checkpoint {
  /** Absent if the earlier run began none that can be resumed. */
  readonly upload?: CheckpointUpload
  readonly parts: ReadonlyMap<number, PartReceipt>
  /** The argument of `seal`, if all parts were written and checked: JSON. */
  readonly record?: unknown
}

/** Where one archive's checkpoint is kept. Losing it costs work, never correctness. */
export interface CheckpointLog {
  load(): Promise<Checkpoint | null>
  /** Replaces everything that was there. */
  begin(upload: CheckpointUpload): Promise<void>
  part(number: number, receipt: PartReceipt): Promise<void>
  /** Keeps the record, with its proof, before the upload is completed, so that a later run can write it if this one dies. */
  seal(record: unknown): Promise<void>
  clear(): Promise<void>
  /** Whether any run's note of the upload of `token` exists now. Also called after an abort. Rejects if there is no answer soon. */
  notes(token: string): Promise<boolean>
  /**
   * Whether another job works on this archive, or may resume it: open uploads at the destination may be that job's. Rejects if this
   * run no longer owns its job: then they may be the next run's.
   */
  hasRivals(): Promise<boolean>
}
