/** Bytes from `start` up to, but not including, `end`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/**
 * Part sizes are multiples of this many bytes: whole MPEG-TS packets, and whole blocks of every envelope. So every part begins
 * with a packet and with a block.
 */
export const PART_UNIT = 752

/** A piece of an archive that is read, decrypted, written and retried on its own. */
export interface Part {
  /** 1, 2, 3, …, like the stores' numbers. */
  readonly number: number
  readonly plaintext: ByteRange
  /** What to read: `lead` bytes, then the part's own, and for the last part the envelope's trailer. */
  readonly ciphertext: ByteRange
  /** How many bytes before the part's own ciphertext are needed to decrypt it. */
  readonly lead: number
}

/** The parts of one archive, computed instead of stored: 40 GB in 5 MiB parts would be 8,000 objects. */
export interface PartPlan {
  readonly count: number
  part(number: number): Part
}

export const rangeSize = (range: ByteRange): number => range.end - range.start
