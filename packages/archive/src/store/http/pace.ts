/** How slow a peer may be. Silence has its own limit. This one is for a peer that keeps sending, but never enough. */

/** Far below what any link gives to one of eight parts that share it. */
export const FLOOR_BYTES_PER_SECOND = 4 * 1024

/**
 * The time that an exchange may take in addition to that for its bytes: five minutes for an `idleTimeoutMs` of 30 s. A store that
 * assembles thousands of parts takes minutes, and sends a blank now and then.
 */
export const graceMs = (idleTimeoutMs: number): number => 10 * idleTimeoutMs

/** What moves: the request's body, the answer's head, or its body. */
export type Stage = "request" | "head" | "body"

/** Measures the peer's share of an exchange's time: while it should send or take bytes. */
export interface Pace {
  /** Starts or continues the peer's time. */
  run(): void
  /** Stops the peer's time, because nobody wants its bytes. */
  hold(): void
  /** Counts bytes of `stage`. Returns `false` if the peer has taken too long for all bytes, or for those of a window. */
  moved(bytes: number, stage?: Stage): boolean
  /** The milliseconds that the peer has left if it moves `bytes` more, at least 0. */
  leftMs(bytes?: number): number
  /** How many milliseconds of the peer's time are left in the window of `stage`: all of them if it has not begun. Infinite without
   * windows. */
  windowLeftMs(stage: Stage): number
}

/**
 * Creates a pace of `floor` bytes per second plus `allowedMs`. With `windowMs`, from the first bytes of each stage on, each
 * window of the peer's time must also move at least half of the bytes that the floor demands: a stage that has begun has no
 * reason to pause for minutes. A head is smaller than that, so it must be whole within one window.
 */
export function createPace(
  allowedMs: number,
  floor: number = FLOOR_BYTES_PER_SECOND,
  now: () => number = () => performance.now(),
  windowMs?: number,
): Pace {
  let usedMs = 0
  let since: number | undefined
  let bytes = 0
  let window: { readonly stage: Stage; readonly from: number; readonly bytes: number } | undefined
  const spentMs = () => usedMs + (since === undefined ? 0 : now() - since)
  const windowOf = (stage: Stage, spent: number) => {
    if (window?.stage !== stage) window = { stage, from: spent, bytes: 0 }
    return window
  }
  const isDrip = (more: number, stage: Stage): boolean => {
    if (windowMs === undefined) return false
    const spent = spentMs()
    const { from, bytes: before } = windowOf(stage, spent)
    const inWindow = before + more
    const isOver = spent - from >= windowMs
    window = isOver ? { stage, from: spent, bytes: 0 } : { stage, from, bytes: inWindow }
    return isOver && inWindow < ((floor / 2) * windowMs) / 1_000
  }
  const leftMs = (more = 0) => Math.max(0, allowedMs + ((bytes + more) / floor) * 1_000 - spentMs())
  return {
    leftMs,
    windowLeftMs(stage) {
      if (windowMs === undefined) return Number.POSITIVE_INFINITY
      const spent = spentMs()
      return Math.max(0, windowOf(stage, spent).from + windowMs - spent)
    },
    run() {
      since ??= now()
    },
    hold() {
      if (since !== undefined) usedMs += now() - since
      since = undefined
    },
    moved(more, stage = "body") {
      bytes += more
      return !isDrip(more, stage) && leftMs() > 0
    },
  }
}

/** The exchange was too slow. The message is a clause. */
export class TooSlowError extends Error {
  override readonly name = "TooSlowError"

  constructor(floor: number = FLOOR_BYTES_PER_SECOND) {
    super(`less than ${floor} bytes a second moved`)
  }
}

/** Nothing moved in the exchange. The message is a clause. */
export class SilentError extends Error {
  override readonly name = "SilentError"

  constructor(ms: number) {
    super(`nothing moved for ${ms / 1000} s`)
  }
}
