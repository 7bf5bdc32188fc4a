/** A request that is answered with a page that says why. */
export class Refusal extends Error {
  override readonly name = "Refusal"
  readonly status: number
  /** For the log: one of a closed set. */
  readonly reason: string

  constructor(status: number, message: string, reason: string) {
    super(message)
    this.status = status
    this.reason = reason
  }
}
