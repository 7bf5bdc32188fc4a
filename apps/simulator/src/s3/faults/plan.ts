import type { OperationName } from "../http/routing.ts"

/**
 * What goes wrong. Several fields may be given together, and the actions of all rules that a request hits are merged.
 * They take effect in this order: delay, then hang, reset, status or error-in-OK instead of the operation; then the faults
 * of the request's body, the operation itself, and what happens to its reply.
 */
export interface FaultAction {
  /** Waits before anything else. */
  readonly delayMs?: number
  /** Never answers, and reads no body: the connection stays open until the client or the server closes it. */
  readonly hang?: true
  /** Resets the connection (RST) without an answer; the operation is not done. */
  readonly reset?: true
  /** Answers this instead of doing the operation, with an error document of `code` (by default S3's for the status). */
  readonly status?: number
  readonly code?: string
  /** Answers 200 with an error document (`code`, by default InternalError) instead of doing the operation. */
  readonly errorInOk?: true
  /** Does the operation, then resets the connection: the client can't know. */
  readonly applyThenReset?: true
  /** Does the operation, then answers this status with an error document. */
  readonly applyThenStatus?: number
  /** Does the operation, then answers 200 with an error document. */
  readonly applyThenErrorInOk?: true
  /** Closes the connection after so many bytes of the body: the request's if it is so long, else the reply's. */
  readonly resetAfterBytes?: number
  /**
   * Ends the reply's body cleanly after so many bytes. `framing` says how that is hidden: a `Content-Length` that fits the
   * short body, or chunked transfer coding. Default: `length`.
   */
  readonly shortBody?: number
  readonly framing?: "length" | "chunked"
  /** Answers a ranged GET with a `Content-Range` one byte off; the body is the right one. */
  readonly wrongContentRange?: true
  /** Answers a ranged GET with 200 and the whole object. */
  readonly ignoreRange?: true
  /** Writes whatever `If-Match` and `If-None-Match` say, as stores do that do not know them. */
  readonly ignoreConditions?: true
  /** Receives and sends bodies no faster than this. */
  readonly throttleBytesPerSecond?: number
}

export interface FaultRule {
  readonly operation: OperationName | "*"
  /** The whole key, or a pattern found in it. Without it every key matches, and operations that have none. */
  readonly key?: string | RegExp
  /** Requests that are signed with this key only. */
  readonly accessKeyId?: string
  /** Hits, after which the rule is spent. Default 1; `Infinity` for good. */
  readonly times?: number
  /** Of a hit at each matching request. Default 1. Drawn from the server's seed, the same in every run. */
  readonly probability?: number
  /** Matching requests that pass first. Default 0. */
  readonly after?: number
  readonly action: FaultAction
}

/** Who signed it may be left out. */
type StruckRequest = readonly [operation: OperationName, key: string, accessKeyId?: string]

export interface FaultHandle {
  /** Requests that the rule has hit so far. */
  readonly hits: number
  remove(): void
}

/** Which requests go wrong, and how. */
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
    // Each rule draws from its own sequence: what one draws does not depend on which requests others saw.
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

  /** The merged action of the rules that a request hits; counts the hits. */
  strike(...request: StruckRequest): FaultAction | undefined {
    const actions = [...this.#rules].map((rule) => rule(...request)).filter((action) => action !== undefined)
    return actions.length === 0 ? undefined : Object.assign({}, ...actions)
  }
}

function matches(rule: FaultRule, ...[operation, key, accessKeyId]: StruckRequest): boolean {
  if (rule.accessKeyId !== undefined && rule.accessKeyId !== accessKeyId) return false
  if (rule.operation !== "*" && rule.operation !== operation) return false
  if (rule.key === undefined) return true
  // search, unlike test, keeps no state in a global pattern.
  return typeof rule.key === "string" ? rule.key === key : key.search(rule.key) >= 0
}

/** Numbers from 0 up to 1 that depend on `seed` alone (mulberry32). */
function randomSequence(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
