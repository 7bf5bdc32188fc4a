import { type ErrorCode, isUnsealError, UnsealError } from "../errors.ts"
import { wipe } from "../format/password.ts"
import { backoffMs, rest, untilAborted } from "../waiting.ts"
import type { OpenedKeyRing } from "./contract.ts"

export interface KeyRetryOptions {
  /** Tries of one request; 3 if left out. */
  readonly attempts?: number | undefined
  /** How long one try may take; 5000 if left out. With all tries and pauses, less than the 20 s in which a silent peer gives its slots back. */
  readonly timeoutMs?: number | undefined
  /** The first pause is up to so long, and each further one up to twice the one before; 100 if left out. */
  readonly baseMs?: number | undefined
  /** No pause is longer; 1000 if left out. */
  readonly maxMs?: number | undefined
  /** Called before each pause, for the metric. */
  readonly onRetry?: ((code: ErrorCode) => void) | undefined
  /** From 0 up to, not including, 1; `Math.random` if left out. */
  readonly random?: (() => number) | undefined
}

/** The codes after which a request for a key is made again. */
export const RETRIED_KEY_CODES = ["ERR_KEY_SERVICE_UNAVAILABLE"] as const satisfies ErrorCode[]

/** Counted in ticks, not by a clock: what a stopped process or a busy loop has missed is not the peer's silence. */
const TICKS = 20

/** What `request` resolves to, or `ERR_KEY_SERVICE_UNAVAILABLE` after `timeoutMs`. What hears no signal goes on unseen. */
async function inTime<T>(
  what: string,
  request: (signal: AbortSignal) => Promise<T>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<T> {
  const limit = new AbortController()
  let ticks = 0
  const timer = setInterval(() => {
    if (++ticks < TICKS) return
    limit.abort(
      new UnsealError("ERR_KEY_SERVICE_UNAVAILABLE", `${what}: no answer for ${timeoutMs / 1_000} s`),
    )
  }, timeoutMs / TICKS)
  try {
    signal.throwIfAborted()
    const limited = AbortSignal.any([signal, limit.signal])
    return await untilAborted(request(limited), limited)
  } finally {
    clearInterval(timer)
  }
}

/** A function that makes one request as `withKeyRetries` makes those of a ring. */
export function createKeyRetries(options: KeyRetryOptions = {}) {
  const { attempts = 3, timeoutMs = 5_000, baseMs = 100, maxMs = 1_000, onRetry, random } = options
  return async <T>(
    what: string,
    request: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<T> => {
    for (let failures = 1; ; failures++)
      try {
        return await inTime(what, request, timeoutMs, signal)
      } catch (error) {
        signal.throwIfAborted()
        const mayPass = isUnsealError(error, ...RETRIED_KEY_CODES) && !error.refused
        if (!mayPass || failures >= attempts) throw error
        onRetry?.(error.code)
        await rest(backoffMs(failures, { baseMs, maxMs, random }), signal)
      }
  }
}

/**
 * The request layer around `ring`, as `withRetries` is around a store: each try has a limit in time, and one that fails with
 * `ERR_KEY_SERVICE_UNAVAILABLE` is made again, with exponential backoff and full jitter. A service that refuses (`refused`) is not
 * asked again: permissions change in minutes, and what it answers suspends the project. An abort of the caller's signal ends the wait at once.
 */
export function withKeyRetries(ring: OpenedKeyRing, options: KeyRetryOptions = {}): OpenedKeyRing {
  const retry = createKeyRetries(options)
  const what = `key ring ${ring.location}`
  return {
    ...ring,
    refresh: (signal) => retry(what, (limited) => ring.refresh(limited), signal),
    unwrap: (encryptedPassword, signal) =>
      retry(
        what,
        async (limited) => {
          const unwrapped = await ring.unwrap(encryptedPassword, limited)
          // Nobody waits for it any more.
          if (limited.aborted) wipe(unwrapped?.password)
          return unwrapped
        },
        signal,
      ),
  }
}
