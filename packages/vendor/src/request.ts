import { outcomeOf, type RequestOutcome } from "@unseal/archive/request-outcome"
import { retryAfterMs } from "@unseal/archive/store/http/retry-after"
import { backoffMs, rest } from "@unseal/archive/waiting"
import type { Authorizer } from "./authorization.ts"
import { proxyReason } from "./proxy.ts"
import { refusal, VendorError } from "./vendor-error.ts"
import { wordsOf } from "./words.ts"

export interface RequestOptions {
  /** The limit of one attempt, from connecting to the last byte of the answer. Default 30 s. */
  readonly timeoutMs?: number | undefined
  /** Attempts per request. Default 5. */
  readonly attempts?: number | undefined
  /** The upper bound of the first pause. It doubles with each further pause. Default 500. */
  readonly baseMs?: number | undefined
  /** The longest pause. If the vendor asks for more, the request is not repeated. Default 60 s. */
  readonly maxPauseMs?: number | undefined
  /** Called after each attempt, for the metric. */
  readonly onRequest?: ((outcome: RequestOutcome, seconds: number) => void) | undefined
}

export interface VendorRequest {
  readonly method: "GET" | "PUT"
  readonly url: string
  /** For messages: "list the archives of project 123456". */
  readonly what: string
  /** Sent as JSON. */
  readonly body?: unknown
  /** Values that an error must not repeat, even if the vendor does. */
  readonly secrets?: readonly string[]
}

/** A successful answer, or a 404, which only the caller can interpret. */
export interface VendorResponse {
  readonly status: number
  readonly text: string
  /** Set with a 404: the error to throw if a 404 can't be right. */
  readonly refusal?: VendorError
}

/** A thousand archives with their streams take a few MiB. */
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024

const UNREACHABLE_REMEDY = "check the base URL and the network"

/**
 * Sends one request. A GET is repeated on 429, 5xx and a broken connection, after an exponential backoff with full jitter or
 * after `Retry-After`. A PUT is repeated only if the answer says that nothing was done (429, or 503 with `Retry-After`). Only
 * one attempt is in flight at a time. Throws `VendorError`; an abort of `signal` rejects with its reason.
 */
export async function sendRequest(
  request: VendorRequest,
  authorize: Authorizer,
  options: RequestOptions,
  signal: AbortSignal,
): Promise<VendorResponse> {
  const { attempts = 5, baseMs = 500, maxPauseMs = 60_000, timeoutMs = 30_000 } = options
  for (let attempt = 1; ; attempt++) {
    const startedAt = performance.now()
    const tell = (outcome: RequestOutcome) =>
      options.onRequest?.(outcome, (performance.now() - startedAt) / 1_000)
    try {
      const response = await sendOnce(request, authorize, timeoutMs, signal)
      tell(response.status === 404 ? "missing" : "ok")
      return response
    } catch (error) {
      const isBusy = error instanceof VendorError && error.status === 429
      tell(isBusy ? "busy" : outcomeOf(error, signal))
      signal.throwIfAborted()
      if (!(error instanceof VendorError) || attempt >= attempts || !mayRepeat(request, error)) throw error
      const pauseMs = error.retryAfterMs ?? backoffMs(attempt, { baseMs, maxMs: maxPauseMs })
      // Asking earlier than the vendor allows would get a rate-limited project blocked.
      if (pauseMs > maxPauseMs) throw error
      await rest(pauseMs, signal)
    }
  }
}

function mayRepeat({ method }: VendorRequest, { code, status, retryAfterMs }: VendorError): boolean {
  if (code !== "ERR_STORE_UNAVAILABLE") return false
  return method === "GET" || status === 429 || (status === 503 && retryAfterMs !== undefined)
}

async function sendOnce(
  { method, url, what, body, secrets = [] }: VendorRequest,
  authorize: Authorizer,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<VendorResponse> {
  const authorization = await authorize()
  const headers = {
    accept: "application/json",
    ...authorization,
    ...(body === undefined ? {} : { "content-type": "application/json" }),
  }
  const timeout = AbortSignal.timeout(timeoutMs)
  let response: Response
  let text: string
  try {
    response = await fetch(url, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      // A redirect would send the token, and a bucket's secret, to wherever it points.
      redirect: "manual",
      signal: AbortSignal.any([signal, timeout]),
    })
    text = await textOf(response)
  } catch (cause) {
    signal.throwIfAborted()
    if (cause instanceof VendorError) throw cause
    const reason = timeout.aborted ? `no answer within ${timeoutMs / 1_000} s` : reasonOf(cause)
    throw new VendorError(
      "ERR_STORE_UNAVAILABLE",
      `the vendor at ${new URL(url).host} could not be asked to ${what}: ${reason}`,
      { remedy: UNREACHABLE_REMEDY, cause },
    )
  }
  if (response.ok) return { status: response.status, text }
  const clockAheadMs = Date.now() - Date.parse(response.headers.get("date") ?? "")
  const error = refusal(what, response.status, {
    retryAfterMs: retryAfterMs(response.headers.get("retry-after")),
    words: wordsOf(text, [...Object.values(authorization), ...secrets]),
    ...(Number.isFinite(clockAheadMs) && { clockAheadMs }),
  })
  if (response.status === 404) return { status: 404, text, refusal: error }
  throw error
}

async function textOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_RESPONSE_BYTES)
      throw new VendorError(
        "ERR_STORE_UNAVAILABLE",
        `the vendor's answer is over ${MAX_RESPONSE_BYTES} bytes`,
        {
          status: response.status,
          remedy: "check the base URL, or ask for smaller pages",
        },
      )
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString("utf8")
}

/** The message of `fetch` is just "fetch failed". Its cause has the reason. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as { cause?: { code?: string; message?: string }; message?: string }
  return proxyReason(error) ?? cause?.code ?? cause?.message ?? message ?? "the connection failed"
}
