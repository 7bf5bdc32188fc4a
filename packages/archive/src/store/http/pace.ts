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
  /** Counts body bytes in either direction. Returns `false` if the peer has taken too long for everything it moved. */
  moved(bytes: number): boolean
  /** The milliseconds that the peer has left if it moves `bytes` more, at least 0. */
  leftMs(bytes?: number): number
}

/** Creates a pace of `floor` bytes per second plus `allowedMs`. */
export function createPace(
  allowedMs: number,
  floor: number = FLOOR_BYTES_PER_SECOND,
  now: () => number = () => performance.now(),
): Pace {
  let usedMs = 0
  let since: number | undefined
  let bytes = 0
  const leftMs = (more = 0) => {
    const running = since === undefined ? 0 : now() - since
    return Math.max(0, allowedMs + ((bytes + more) / floor) * 1_000 - usedMs - running)
  }
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
      return leftMs() > 0
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
