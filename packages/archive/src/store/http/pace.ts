/** How slow a peer may be. Silence has its own limit. This one is for a peer that keeps sending, but never enough. */

/** Far below what any link gives to one of eight parts that share it. */
export const FLOOR_BYTES_PER_SECOND = 4 * 1024

/**
 * The time that an exchange may take in addition to that for its bytes: five minutes for an `idleTimeoutMs` of 30 s. A store that
 * assembles thousands of parts takes minutes, and sends a blank now and then.
 */
export const graceMs = (idleTimeoutMs: number): number => 10 * idleTimeoutMs

/** Measures the peer's share of an exchange's time: while it should send or take bytes. */
export interface Pace {
  /** Starts or continues the peer's time. */
  run(): void
  /** Stops the peer's time, because nobody wants its bytes. */
  hold(): void
  /** Counts body bytes in either direction. Returns `false` if the peer has taken too long for all of them, or for those of a window. */
  moved(bytes: number): boolean
  /** The milliseconds that the peer has left if it moves `bytes` more, at least 0. */
  leftMs(bytes?: number): number
}

/**
 * Creates a pace of `floor` bytes per second plus `allowedMs`. With `windowMs`, from the first bytes on, each window of the peer's time
 * must also bring half as many bytes as the floor asks for: a body that is being read has no reason to pause for minutes.
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
  let window: { readonly from: number; bytes: number } | undefined
  const spentMs = () => usedMs + (since === undefined ? 0 : now() - since)
  const isDrip = (more: number): boolean => {
    if (windowMs === undefined || more === 0) return false
    const spent = spentMs()
    window ??= { from: spent, bytes: 0 }
    window.bytes += more
    if (spent - window.from < windowMs) return false
    const isLess = window.bytes < ((floor / 2) * windowMs) / 1_000
    window = { from: spent, bytes: 0 }
    return isLess
  }
  const leftMs = (more = 0) => Math.max(0, allowedMs + ((bytes + more) / floor) * 1_000 - spentMs())
  return {
    leftMs,
    run() {
      since ??= now()
    },
    hold() {
      if (since !== undefined) usedMs += now() - since
      since = undefined
    },
    moved(more) {
      bytes += more
      return !isDrip(more) && leftMs() > 0
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
