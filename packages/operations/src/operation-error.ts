/**
 * Why an operation refuses a request:
 * - `ERR_OPTION_INVALID`: an option has an invalid value.
 * - `ERR_DEAD_LETTER_UNKNOWN`: a named job or archive has no dead letter.
 * - `ERR_ARCHIVE_UNKNOWN`: the vendor has no archive with a named id.
 * - `ERR_ARCHIVE_NOT_ENCRYPTED`: a named archive has no password, so there is nothing to decrypt.
 */
export type OperationErrorCode =
  | "ERR_OPTION_INVALID"
  | "ERR_DEAD_LETTER_UNKNOWN"
  | "ERR_ARCHIVE_UNKNOWN"
  | "ERR_ARCHIVE_NOT_ENCRYPTED"

/**
 * An operation refused an impossible request. Nothing was changed, and the same request would fail again. The message is a
 * lowercase clause that names the value and contains no secret.
 */
export class OperationError extends Error {
  override readonly name = "OperationError"
  readonly code: OperationErrorCode

  constructor(code: OperationErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/** Throws `ERR_OPTION_INVALID` unless `ms` is a duration of at least `minMs` milliseconds. */
export function requireDuration(name: string, ms: number, minMs = 0): void {
  if (!Number.isFinite(ms) || ms < minMs)
    throw new OperationError("ERR_OPTION_INVALID", `${name} is ${ms} ms, and must be ${minMs} ms or more`)
}
