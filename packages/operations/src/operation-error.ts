/**
 * Why an operation refuses what it was asked for:
 * - `ERR_OPTION_INVALID`: an option has a value that can't be.
 * - `ERR_DEAD_LETTER_UNKNOWN`: no dead letter belongs to a job or an archive that was named.
 * - `ERR_ARCHIVE_UNKNOWN`: the vendor has no archive of an id that was named.
 * - `ERR_ARCHIVE_NOT_ENCRYPTED`: an archive that was named has no password, so that there is nothing to decrypt.
 */
export type OperationErrorCode =
  | "ERR_OPTION_INVALID"
  | "ERR_DEAD_LETTER_UNKNOWN"
  | "ERR_ARCHIVE_UNKNOWN"
  | "ERR_ARCHIVE_NOT_ENCRYPTED"

/**
 * An operation was asked for what can't be: nothing was changed, and the same request would fail again. The message is a lowercase clause
 * that names the value, and holds no secret.
 */
export class OperationError extends Error {
  override readonly name = "OperationError"
  readonly code: OperationErrorCode

  constructor(code: OperationErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/** `ERR_OPTION_INVALID` unless `ms` is a duration of at least `minMs` milliseconds. */
export function requireDuration(name: string, ms: number, minMs = 0): void {
  if (!Number.isFinite(ms) || ms < minMs)
    throw new OperationError("ERR_OPTION_INVALID", `${name} is ${ms} ms, and must be ${minMs} ms or more`)
}
