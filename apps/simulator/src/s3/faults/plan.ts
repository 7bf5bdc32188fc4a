import type { OperationName } from "../http/routing.ts"

/**
 * A fault. Its fields can be combined, and the actions of all rules that match a request are merged. They take effect in this
 * order: delay; then hang, reset, status or error-in-OK in place of the operation; then faults of the request's body; then
 * the operation; then faults of its reply.
 */
export interface FaultAction {
  /** Waits before everything else. */
  readonly delayMs?: number
  /** Never answers, and reads no body: the connection stays open until the client or the server closes it. */
  readonly hang?: true
  /** Resets the connection (RST) without an answer and without doing the operation. */
  readonly reset?: true
  /** Answers this status instead of doing the operation, with an error document of `code` (default: S3's for the status). */
  readonly status?: number
  readonly code?: string
  /** Answers 200 with an error document (`code`, default InternalError) instead of doing the operation. */
  readonly errorInOk?: true
  /** Does the operation, then resets the connection, so the client can't know the result. */
  readonly applyThenReset?: true
  /** Does the operation, then answers this status with an error document. */
  readonly applyThenStatus?: number
  /** Does the operation, then answers 200 with an error document. */
  readonly applyThenErrorInOk?: true
  /** Closes the connection after this many bytes of the request's body or, if that is shorter, of the reply's. */
  readonly resetAfterBytes?: number
  /**
   * Ends the reply's body cleanly after this many bytes. `framing` says how the missing rest is hidden: by a `Content-Length`
   * that fits the short body, or by chunked transfer coding. Default: `length`.
   */
  readonly shortBody?: number
  readonly framing?: "length" | "chunked"
  /** Answers a ranged GET with the right body and a `Content-Range` that is one byte off. */
  readonly wrongContentRange?: true
  /** Answers a ranged GET with 200 and the whole object. */
  readonly ignoreRange?: true
  /** Ignores `If-Match` and `If-None-Match` on writes, as stores without conditional writes do. */
  readonly ignoreConditions?: true
  /** Receives and sends bodies no faster than this. */
  readonly throttleBytesPerSecond?: number
}

export interface FaultRule {
  readonly operation: OperationName | "*"
  /** The whole key, or a pattern to find in it. Without it every request matches, including those without a key. */
  readonly key?: string | RegExp
  /** Matches only requests signed with this key. */
  readonly accessKeyId?: string
  /** How often the rule strikes before it is spent. Default 1; `Infinity` for ever. */
  readonly times?: number
  /** The probability that a matching request is struck. Default 1. Drawn from the server's seed, so every run is the same. */
  readonly probability?: number
  /** How many matching requests pass first. Default 0. */
  readonly after?: number
  readonly action: FaultAction
}

/** The access key may be left out. */
type StruckRequest = readonly [operation: OperationName, key: string, accessKeyId?: string]

export interface FaultHandle {
  /** How many requests the rule has struck so far. */
  readonly hits: number
  remove(): void
}

/** Decides which requests fail, and how. */
export class FaultPlan {
  readonly #rules = new Set<(...request: StruckRequest) => FaultAction | undefined>()
  readonly #seed: number
  #added = 0

  constructor(seed: number) {
    this.#seed = seed
  }

  add(rule: FaultRule): FaultHandle {
    if (Object.keys(rule.action).length === 0) throw new RangeError("a fault needs an action")
    if ((rule.times ?? 1) < 1) throw new RangeError(`a fault that strikes ${rule.times} times never does`)
    const { times = 1, probability = 1, after = 0 } = rule
    // Each rule draws from its own sequence, so its draws do not depend on the requests that other rules see.
    const random = randomSequence(this.#seed + ++this.#added * 0x9e3779b9)
    let matched = 0
    let hits = 0
    const strike = (...request: StruckRequest): FaultAction | undefined => {
      if (!matches(rule, ...request)) return undefined
      if (++matched <= after || random() >= probability) return undefined
      hits++
      if (hits >= times) this.#rules.delete(strike)
      return rule.action
    }
    this.#rules.add(strike)
    return {
      get hits() {
        return hits
      },
      remove: () => void this.#rules.delete(strike),
    }
  }

  clear(): void {
    this.#rules.clear()
  }

  /** Merges the actions of the rules that match a request, and counts the hits. */
  strike(...request: StruckRequest): FaultAction | undefined {
    const actions = [...this.#rules].map((rule) => rule(...request)).filter((action) => action !== undefined)
    return actions.length === 0 ? undefined : Object.assign({}, ...actions)
  }
}

function matches(rule: FaultRule, ...[operation, key, accessKeyId]: StruckRequest): boolean {
  if (rule.accessKeyId !== undefined && rule.accessKeyId !== accessKeyId) return false
  if (rule.operation !== "*" && rule.operation !== operation) return false
  if (rule.key === undefined) return true
  // Unlike test, search keeps no state in a global pattern.
  return typeof rule.key === "string" ? rule.key === key : key.search(rule.key) >= 0
}

/** Numbers in [0, 1) that depend only on `seed` (mulberry32). */
function randomSequence(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
