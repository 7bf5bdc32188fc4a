/** A store URL that can't be used: a configuration error. The message names the invalid part and never contains a secret. */
export class StoreUrlError extends RangeError {
  override readonly name = "StoreUrlError"
}
