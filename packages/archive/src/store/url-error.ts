/** A store URL that can't be used: a configuration error. The message names the offending part and never holds a secret. */
export class StoreUrlError extends RangeError {
  override readonly name = "StoreUrlError"
}
