/** How one request to a store, a key service or the vendor ended, for the metrics. */
import { isUnsealError } from "./errors.ts"

export const REQUEST_OUTCOMES = [
  ...(["ok", "missing", "denied", "busy", "unavailable", "cancelled", "other"] as const),
] as const
export type RequestOutcome = (typeof REQUEST_OUTCOMES)[number]

/**
 * The outcome of a request that failed with `error`. `other`: a response with a meaning of its own, such as that an object has
 * changed.
 */
export function outcomeOf(error: unknown, signal?: AbortSignal): RequestOutcome {
  if (!isUnsealError(error)) return signal?.aborted ? "cancelled" : "other"
  switch (error.code) {
    case "ERR_OBJECT_NOT_FOUND":
      return "missing"
    case "ERR_STORE_DENIED":
      return "denied"
    case "ERR_STORE_BUSY":
      return "busy"
    case "ERR_STORE_UNAVAILABLE":
      return "unavailable"
    case "ERR_KEY_SERVICE_UNAVAILABLE":
      return error.refused ? "denied" : "unavailable"
    default:
      return "other"
  }
}

/** Resolves like `work`, and reports how it ended and how many seconds it took. */
export async function timed<T>(
  work: () => Promise<T>,
  tell: (outcome: RequestOutcome, seconds: number) => void,
  { signal, outcome = () => "ok" }: { signal?: AbortSignal; outcome?: (result: T) => RequestOutcome } = {},
): Promise<T> {
  const startedAt = performance.now()
  const secondsSoFar = () => (performance.now() - startedAt) / 1_000
  let result: T
  try {
    result = await work()
  } catch (error) {
    tell(outcomeOf(error, signal), secondsSoFar())
    throw error
  }
  tell(outcome(result), secondsSoFar())
  return result
}
