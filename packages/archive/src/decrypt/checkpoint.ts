/** What a run leaves behind so that the next one need not do it again. */

/** What an upload is of. */
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
  /** The `PartWriter`'s. */
  readonly token: string
  /** Bytes. */
  readonly partSize: number
}

/** A part that was decrypted and written. */
export interface PartReceipt {
  /** Bytes of plaintext. */
  readonly size: number
  /** What the store answered; the part is trusted only if the store still answers the same. */
  readonly tag: string
  /** Of the part's plaintext. */
  readonly crc32: number
  readonly syncErrors: number
  /** That all this was found by a run with the content key (proof.ts); without one the part is done again. */
  readonly proof?: string | undefined
}

export interface Checkpoint {
  /** Absent if the earlier run began none that could be resumed. */
  readonly upload?: CheckpointUpload
  readonly parts: ReadonlyMap<number, PartReceipt>
  /** What `seal` was given, if all parts were written and checked: JSON. */
  readonly record?: unknown
}

/** Where one archive's checkpoint is kept. Losing it costs work, never correctness. */
export interface CheckpointLog {
  load(): Promise<Checkpoint | null>
  /** Replaces whatever was there. */
  begin(upload: CheckpointUpload): Promise<void>
  part(number: number, receipt: PartReceipt): Promise<void>
  /** Keeps the record, with its proof, before the upload is completed, so that a run that dies in between can still write it. */
  seal(record: unknown): Promise<void>
  clear(): Promise<void>
  /** Whether the upload of `token` is noted now, by whichever run; asked also when the run has been aborted. Rejects if that can't be told soon. */
  notes(token: string): Promise<boolean>
  /**
   * Whether another job works on this archive, or may go on with it: what is open at the destination may be that job's. Rejects
   * when this run does not own its job any more: then it may be the next run's.
   */
  hasRivals(): Promise<boolean>
}
