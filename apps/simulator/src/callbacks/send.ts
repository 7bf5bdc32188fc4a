/**
 * Sends archive-status callbacks as the vendor does, signed or unsigned, and retries until the receiver accepts them. The
 * retries are simulated vendor behaviour; they are not one of the pipeline's two retry layers.
 */
import { createHash, randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { SignJWT } from "jose"

export interface CallbackSenderOptions {
  readonly url: string
  /** Appended to the URL as a path segment, for receivers that recognise the sender by it. */
  readonly token?: string
  /** Signs callbacks ("secure callbacks"). */
  readonly signatureSecret?: string
  /** Leaves a callback's first attempt unsigned. The vendor says that this may happen. */
  readonly unsignedFirstAttempt?: boolean
  /** Together with signing, selects the retry schedule. Default unified. */
  readonly platform?: "unified" | "legacy"
  /** Multiplies the waits between attempts. Default 1. */
  readonly timeScale?: number
  /** What happens to the next callback: whether it is never sent, and how late it is. Default: nothing. */
  readonly mishap?: () => { readonly lost: boolean; readonly delayMs: number }
  /** How long the sender waits for an answer. The vendor documents no value. Default 10 seconds. */
  readonly timeoutMs?: number
}

/** An attempt that the receiver did not accept, and that another one follows. */
export interface Retry {
  /** The first attempt is 1. */
  readonly attempt: number
  /** The HTTP status; `null` if there was no answer (timeout, connection refused or cut). */
  readonly status: number | null
  readonly retryInMs: number
}

/** How a callback ended. */
export interface Delivery {
  /**
   * `accepted`: a 2xx. `refused`: an answer below 500, which no retry would change. `given-up`: neither within the schedule.
   * `lost`: never sent.
   */
  readonly outcome: "accepted" | "refused" | "given-up" | "lost"
  /** The HTTP status of each attempt; `null` if there was no answer (timeout, connection refused or cut). */
  readonly attempts: readonly (number | null)[]
  /** The last answer's body; `""` without an answer. */
  readonly answer: string
}

export interface Sending {
  /** Settles after the first attempt, whatever its result: the vendor doesn't delay the next callback for a retry. */
  readonly firstAttempt: Promise<void>
  /** Rejects only with the signal's reason. */
  readonly delivery: Promise<Delivery>
}

export interface CallbackSender {
  /** Sends the JSON `body` until an answer is final. Calls `onRetry` after each attempt except the last. */
  send(body: string, signal: AbortSignal, onRetry?: (retry: Retry) => void): Sending
}

const FIRST_RETRY_MS = 5_000
const LONGEST_RETRY_MS = 15 * 60_000
const GIVEN_UP_AFTER_MS = 24 * 3_600_000
const LEGACY_RETRIES = 4

export function createCallbackSender(options: CallbackSenderOptions): CallbackSender {
  const url =
    options.token === undefined ? options.url : `${options.url}/${encodeURIComponent(options.token)}`
  const delays = [...retryDelays(options.platform ?? "unified", options.signatureSecret !== undefined)].map(
    (delay) => delay * (options.timeScale ?? 1),
  )

  async function deliver(
    body: string,
    signal: AbortSignal,
    attempted: () => void,
    onRetry?: (retry: Retry) => void,
  ): Promise<Delivery> {
    // Signed once for all attempts: a receiver has to accept a signature as old as the last retry.
    const signature =
      options.signatureSecret === undefined ? undefined : await signCallback(body, options.signatureSecret)
    const attempts: (number | null)[] = []
    const { lost, delayMs } = options.mishap?.() ?? { lost: false, delayMs: 0 }
    if (lost) return { outcome: "lost", attempts, answer: "" }
    if (delayMs > 0) {
      // A late callback does not delay the next one.
      attempted()
      await sleep(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted())
    }
    for (;;) {
      const unsigned = attempts.length === 0 && options.unsignedFirstAttempt === true
      const answer = await post(
        url,
        body,
        unsigned ? undefined : signature,
        options.timeoutMs ?? 10_000,
        signal,
      )
      attempts.push(answer.status)
      attempted()
      if (answer.status !== null && answer.status < 500) {
        const accepted = answer.status >= 200 && answer.status < 300
        return { outcome: accepted ? "accepted" : "refused", attempts, answer: answer.body }
      }
      const delay = delays[attempts.length - 1]
      if (delay === undefined) return { outcome: "given-up", attempts, answer: answer.body }
      onRetry?.({ attempt: attempts.length, status: answer.status, retryInMs: delay })
      await sleep(delay, undefined, { signal }).catch(() => signal.throwIfAborted())
    }
  }

  return {
    send(body, signal, onRetry) {
      const { promise: firstAttempt, resolve } = Promise.withResolvers<void>()
      const delivery = deliver(body, signal, resolve, onRetry)
      delivery.catch(() => {}).finally(resolve)
      return { firstAttempt, delivery }
    },
  }
}

/** The vendor's waits between attempts, in milliseconds. */
export function* retryDelays(platform: "unified" | "legacy", signed: boolean): Generator<number> {
  const retries = platform === "legacy" && !signed ? LEGACY_RETRIES : Number.POSITIVE_INFINITY
  let delay = FIRST_RETRY_MS
  let elapsed = 0
  for (let retry = 0; retry < retries && elapsed + delay <= GIVEN_UP_AFTER_MS; retry++) {
    yield delay
    elapsed += delay
    delay = Math.min(delay * 2, LONGEST_RETRY_MS)
  }
}

/** The JWT of a signed callback: HS256 over the sender, the time, and the SHA-256 of the body's bytes. */
export function signCallback(body: string, signatureSecret: string): Promise<string> {
  return new SignJWT({ payload_hash: createHash("sha256").update(body).digest("hex") })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuer("Vonage")
    .setIssuedAt()
    .setJti(randomUUID())
    .sign(new TextEncoder().encode(signatureSecret))
}

async function post(
  url: string,
  body: string,
  signature: string | undefined,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<{ status: number | null; body: string }> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(signature === undefined ? {} : { authorization: `Bearer ${signature}` }),
      },
      body,
      redirect: "manual",
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    })
    return { status: response.status, body: await response.text() }
  } catch {
    signal.throwIfAborted()
    return { status: null, body: "" }
  }
}
