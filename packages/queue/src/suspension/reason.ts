/** What an error says about the suspension that it causes. */
import type { UnsealError } from "@unseal/archive/errors"

/** A longer pause is not granted, whoever asks for it. */
const LONGEST_RETRY_AFTER_MS = 60_000

/** How long the peer that refused asked to be left alone, in milliseconds, at most a minute. 0 if it did not say. */
export function retryAfterMsOf(error: UnsealError): number {
  const { cause, retryAfterMs } = error as { cause?: { retryAfterMs?: unknown }; retryAfterMs?: unknown }
  const told = retryAfterMs ?? cause?.retryAfterMs
  return typeof told === "number" && told > 0 ? Math.min(told, LONGEST_RETRY_AFTER_MS) : 0
}

/** The reason of a dead letter that was held for too long: its suspension's `reason` (`CODE: message`), and for how long. */
export function expiredReason(reason: string, heldMs: number): string {
  const [, code = "ERR_UNEXPECTED", message = reason] = /^(ERR_[A-Z_]+): (.*)$/s.exec(reason) ?? []
  const hours = (heldMs / 3_600_000).toFixed(1)
  return `${code}: held back for ${hours} h by the deployment's trouble, which is the limit: ${message}`.slice(
    0,
    500,
  )
}
