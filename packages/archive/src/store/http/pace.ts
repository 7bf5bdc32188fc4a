/** How slow a peer may be. Silence has a limit of its own; this one is for a peer that always sends a little, and never enough. */

/** Far below what any link gives to one of eight parts that share it. */
export const FLOOR_BYTES_PER_SECOND = 4 * 1024

/**
 * What an exchange may take beside its bytes, for a limit of silence of `idleTimeoutMs`: five minutes for 30 s. A store that puts
 * thousands of parts together takes minutes, and sends a blank now and then meanwhile.
 */
export const graceMs = (idleTimeoutMs: number): number => 10 * idleTimeoutMs

/** One exchange's time, as far as it is the peer's: while bytes are wanted of it, or sent to it. */
export interface Pace {
  /** From here on the peer's time runs; again, it goes on. */
  run(): void
  /** The peer's time stands still, since nobody wants its bytes. */
  hold(): void
  /** So many bytes of a body went either way. `false` if the peer has taken longer for all it moved than it may. */
  moved(bytes: number): boolean
  /** Milliseconds that the peer has left if it moves `bytes` more, at least 0. */
  leftMs(bytes?: number): number
}

/** A pace of `floor` bytes a second, with `allowedMs` beside. */
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

/** What an exchange with a peer that is too slow ends in. The message is a clause. */
export class TooSlowError extends Error {
  override readonly name = "TooSlowError"

  constructor(floor: number = FLOOR_BYTES_PER_SECOND) {
    super(`less than ${floor} bytes a second moved`)
  }
}

/** What an exchange on which nothing moves ends in. The message is a clause. */
export class SilentError extends Error {
  override readonly name = "SilentError"

  constructor(ms: number) {
    super(`nothing moved for ${ms / 1000} s`)
  }
}
