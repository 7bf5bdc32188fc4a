/** The recent rate, in events a second. */
export interface Tempo {
  add(count: number): void
  /** Weighted: an event 20 seconds ago counts half. */
  perSecond(): number
}

const HALF_MS = 20_000

export function createTempo(now: () => number = () => performance.now()): Tempo {
  const startedAt = now()
  let weighted = 0
  let at = startedAt
  const fade = () => {
    weighted *= 0.5 ** ((now() - at) / HALF_MS)
    at = now()
  }
  return {
    add(count) {
      fade()
      weighted += count
    },
    perSecond() {
      fade()
      // The weights of all time since the start add up to this many seconds.
      const seconds = ((HALF_MS / 1_000) * (1 - 0.5 ** ((at - startedAt) / HALF_MS))) / Math.LN2
      return seconds < 1 ? weighted : weighted / seconds
    },
  }
}
