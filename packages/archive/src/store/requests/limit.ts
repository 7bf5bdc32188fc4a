/**
 * Limits a store's concurrent requests once it has refused some for their rate (503 SlowDown, 429, ServerBusy). Such a refusal is
 * flow control, not a failure: the number in flight is halved, and grows back while the store accepts requests, as in TCP
 * and in the SDKs' adaptive mode. Until the first refusal there is no limit, and nothing waits.
 */
import { UnsealError } from "../../errors.ts"

export interface RequestLimitOptions {
  /** How long a store may accept nothing before it is given up, until the next request. Default 60 s. */
  readonly patienceMs?: number | undefined
  /** The approximate first pause after a refusal. It doubles with each further one. Default 100 ms. */
  readonly baseMs?: number | undefined
  /** The longest pause, unless the store asks for more. Default 5 s. */
  readonly maxMs?: number | undefined
  /** The shortest time between two increases of the limit. Default 1 s. */
  readonly growMs?: number | undefined
  /** The limit is lifted when nobody has had to wait for this long. Default 60 s. */
  readonly liftMs?: number | undefined
}

/** A refusal this long ago says nothing about now. */
const FORGOTTEN_MS = 300_000

interface Waiter {
  grant(): void
  giveUp(error: UnsealError): void
}

/** A request's place in the history of refusals. Only a request that began after the last halving can cause another. */
type Ticket = number

export class RequestLimit {
  readonly #options: Required<{ [Name in keyof RequestLimitOptions]: number }>
  readonly #waiting = new Set<Waiter>()
  readonly #held = new Set<() => void>()
  #limit = Number.POSITIVE_INFINITY
  #inFlight = 0
  #halvings = 0
  /** Halvings since the last accepted request. */
  #inRow = 0
  #accepted = 0
  #changedAt = 0
  #waitedAt = 0
  #notBefore = 0
  #refusedAt = 0
  /** Nothing has been accepted since then. */
  #refusedSince: number | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: RequestLimitOptions = {}) {
    const { patienceMs = 60_000, baseMs = 100, maxMs = 5_000, growMs = 1_000, liftMs = 60_000 } = options
    this.#options = { patienceMs, baseMs, maxMs, growMs, liftMs }
  }

  /** How many requests may be in flight; `Infinity` until the store refuses some. */
  get limit(): number {
    const isIdle = this.#waiting.size === 0 && now() - this.#waitedAt >= this.#options.liftMs
    return isIdle ? Number.POSITIVE_INFINITY : this.#limit
  }

  /** Takes a place among the requests in flight, at once or in the order of requests. Rejects with `signal.reason`. */
  enter(signal?: AbortSignal): Ticket | Promise<Ticket> {
    if (this.#limit === Number.POSITIVE_INFINITY || (this.#waiting.size === 0 && this.#isFree())) {
      this.#inFlight++
      return this.#halvings
    }
    return this.#wait(signal)
  }

  #isFree(): boolean {
    return this.#inFlight < this.limit && now() >= this.#notBefore
  }

  #wait(signal?: AbortSignal): Promise<Ticket> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      this.#waitedAt = now()
      const leave = () => {
        this.#waiting.delete(waiter)
        if (this.#waiting.size === 0) clearTimeout(this.#timer)
        signal?.removeEventListener("abort", abort)
      }
      const abort = () => {
        leave()
        reject(signal!.reason)
      }
      const waiter: Waiter = {
        grant: () => {
          leave()
          this.#inFlight++
          resolve(this.#halvings)
        },
        giveUp(error) {
          leave()
          reject(error)
        },
      }
      signal?.addEventListener("abort", abort, { once: true })
      this.#waiting.add(waiter)
      this.#serve()
    })
  }

  #serve(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const pauseMs = this.#notBefore - now()
    if (pauseMs > 0) {
      if (this.#waiting.size > 0) this.#timer = setTimeout(() => this.#serve(), pauseMs)
      return
    }
    for (const waiter of this.#waiting) {
      if (!this.#isFree()) return
      this.#waitedAt = now()
      waiter.grant()
    }
  }

  /** The store answered a request with anything but a refusal for its rate. */
  accept(): void {
    if (this.#limit === Number.POSITIVE_INFINITY) return
    this.#refusedSince = undefined
    this.#inRow = 0
    if (this.limit === Number.POSITIVE_INFINITY) return
    this.#accepted++
    // A limit that makes nobody wait is no obstacle. It says nothing about what the store would accept.
    const isUsed = this.#waitedAt >= this.#changedAt
    if (!isUsed || this.#accepted < this.#limit || now() - this.#changedAt < this.#options.growMs) return
    this.#change(this.#limit + Math.max(1, Math.floor(this.#limit / 8)))
  }

  #change(limit: number): void {
    this.#limit = limit
    this.#accepted = 0
    this.#changedAt = now()
  }

  /** The request of `ticket` and its answer's body have ended. */
  leave(): void {
    this.#inFlight--
    if (this.#waiting.size > 0) this.#serve()
  }

  /**
   * The store refused the request of `ticket` for its rate, which ends the request. Returns whether to repeat it. If not, the store
   * has accepted nothing for too long, or asks for a longer pause, and all waiting requests fail.
   */
  refuse(ticket: Ticket, error: UnsealError): boolean {
    const { patienceMs } = this.#options
    const at = now()
    if (this.#refusedSince === undefined || at - this.#refusedAt > FORGOTTEN_MS) this.#refusedSince = at
    this.#refusedAt = at
    if (ticket === this.#halvings) {
      this.#change(Math.max(1, Math.floor(Math.min(this.limit, this.#inFlight) / 2)))
      this.#halvings++
      this.#pauseUntil(at + this.restMs(++this.#inRow))
    }
    this.#waitedAt = at
    const { retryAfterMs = 0 } = error
    this.#pauseUntil(at + Math.min(retryAfterMs, patienceMs))
    this.#inFlight--
    for (const letGo of [...this.#held]) letGo()
    const isHopeless = at - this.#refusedSince >= patienceMs || retryAfterMs > patienceMs
    if (isHopeless) for (const waiter of [...this.#waiting]) waiter.giveUp(alike(error))
    else this.#serve()
    return !isHopeless
  }

  #pauseUntil(at: number): void {
    this.#notBefore = Math.max(this.#notBefore, at)
  }

  /** Calls `letGo` when the store refuses a request for its rate. Returns a function that undoes this. */
  onRefusal(letGo: () => void): () => void {
    this.#held.add(letGo)
    return () => void this.#held.delete(letGo)
  }

  /** How long a request pauses after `times` refusals while others may be accepted: milliseconds, with jitter. */
  restMs(times: number): number {
    const { baseMs, maxMs } = this.#options
    return Math.min(maxMs, baseMs * 2 ** (times - 1)) * (0.5 + Math.random() / 2)
  }
}

const now = () => performance.now()

/** Each waiting request gets its own error, because its catcher notes on it which side it came from. */
const alike = ({ code, message, retryAfterMs, cause, ownRemedy }: UnsealError): UnsealError =>
  new UnsealError(code, message, { cause, retryAfterMs, remedy: ownRemedy })
