/** What an error says of the suspension that it causes. */
import type { UnsealError } from "@unseal/archive/errors"

/** Whoever asks to be left alone for longer is asked all the same. */
const LONGEST_RETRY_AFTER_MS = 60_000

/** How long whoever refused asked to be left alone, in milliseconds, a minute at most: 0 if it did not say. */
export function retryAfterMsOf(error: UnsealError): number {
  const { cause, retryAfterMs } = error as { cause?: { retryAfterMs?: unknown }; retryAfterMs?: unknown }
  const told = retryAfterMs ?? cause?.retryAfterMs
  return typeof told === "number" && told > 0 ? Math.min(told, LONGEST_RETRY_AFTER_MS) : 0
}

/** Why an archive that was held for as long as it may be is a dead letter: the `reason` of its suspension (`CODE: message`), and how long it was held. */
export function expiredReason(reason: string, heldMs: number): string {
  const [, code = "ERR_UNEXPECTED", message = reason] = /^(ERR_[A-Z_]+): (.*)$/s.exec(reason) ?? []
  const hours = (heldMs / 3_600_000).toFixed(1)
  return `${code}: held back for ${hours} h by the deployment's trouble, which is as long as it may be: ${message}`.slice(
    0,
    500,
  )
}
