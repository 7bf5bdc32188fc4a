/**
 * Why a backfill can't go on, or can't begin:
 * - `ERR_BACKFILL_CHANGED`: an object that Unseal wrote at the backfill's home is missing, or was changed.
 * - `ERR_BACKFILL_UNKNOWN`: no project's destination has a backfill with this id.
 * - `ERR_BACKFILL_ENDED`: the backfill has ended, so it takes no orders.
 * - `ERR_MANIFEST_INVALID`: the manifest has no archive that can be decrypted here.
 */
export type BackfillErrorCode =
  | "ERR_BACKFILL_CHANGED"
  | "ERR_BACKFILL_UNKNOWN"
  | "ERR_BACKFILL_ENDED"
  | "ERR_MANIFEST_INVALID"

/** The message is a lowercase clause that names the object or the lines, and contains no secret. */
export class BackfillError extends Error {
  override readonly name = "BackfillError"
  readonly code: BackfillErrorCode

  constructor(code: BackfillErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
