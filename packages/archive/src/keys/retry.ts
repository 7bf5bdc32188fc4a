import { type ErrorCode, isUnsealError, UnsealError } from "../errors.ts"
import { wipe } from "../format/password.ts"
import { type RequestOutcome, timed } from "../request-outcome.ts"
import { type BackoffOptions, backoffMs, rest, untilAborted } from "../waiting.ts"
import type { OpenedKeyRing } from "./contract.ts"

/** How requests for keys are repeated. The longest pause is 1000 ms by default. */
export interface KeyRetryOptions extends BackoffOptions {
  /** Tries per request. Default 3. */
  readonly attempts?: number | undefined
  /**
   * The limit of one try. Default 5000. All tries and pauses together take less than the 20 s after which slots of a silent peer
   * are freed.
   */
  readonly timeoutMs?: number | undefined
  /** Called before each pause, for the metric. */
  readonly onRetry?: ((code: ErrorCode) => void) | undefined
  /** Called after each try, for the metric. */
  readonly onRequest?: ((outcome: RequestOutcome, seconds: number) => void) | undefined
}

/** The codes after which a request for a key is repeated. */
export const RETRIED_KEY_CODES = ["ERR_KEY_SERVICE_UNAVAILABLE"] as const satisfies ErrorCode[]

/** Counted in ticks, not by a clock: a stopped process or a busy loop is not the peer's silence. */
const TICKS = 20

/**
 * Resolves like `request`. Throws `ERR_KEY_SERVICE_UNAVAILABLE` after `timeoutMs`. A request that ignores its signal goes on
 * unseen.
 */
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

/** A function that makes one request with the retries of `withKeyRetries`. */
export function createKeyRetries(options: KeyRetryOptions = {}) {
  const { attempts = 3, timeoutMs = 5_000, baseMs = 100, maxMs = 1_000, onRetry, random } = options
  const { onRequest = () => {} } = options
  return async <T>(
    what: string,
    request: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<T> => {
    for (let failures = 1; ; failures++)
      try {
        return await timed(() => inTime(what, request, timeoutMs, signal), onRequest, { signal })
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
 * Adds the request layer to `ring`, as `withRetries` does to a store. Each try has a time limit. One that fails with
 * `ERR_KEY_SERVICE_UNAVAILABLE` is repeated, with exponential backoff and full jitter. A service that refuses (`refused`) is not
 * asked again, because permissions change in minutes, and its answer suspends the project. An abort of the caller's signal ends
 * the wait at once.
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
