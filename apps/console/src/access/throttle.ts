/** Limits failed attempts to sign in. */

export interface ThrottleLimits {
  /** Failures of one key within a window; further attempts wait for its end. */
  readonly failures: number
  readonly windowMs: number
}

export interface Throttle {
  /** Milliseconds until `key` may try again; 0 if it may now. */
  waitMs(key: string): number
  failed(key: string): void
  forget(key: string): void
}

/** The most keys that are remembered, so that a flood of invented names can't fill the memory. */
const MOST_KEYS = 10_000

/** Counts failures by key. A window begins with its first failure and ends by itself, whatever is tried meanwhile. */
export function createThrottle(
  { failures, windowMs }: ThrottleLimits,
  now: () => number = () => performance.now(),
): Throttle {
  /** The oldest window first. */
  const windows = new Map<string, { endsAt: number; failed: number }>()

  function current(key: string) {
    const window = windows.get(key)
    if (window === undefined || window.endsAt > now()) return window
    windows.delete(key)
    return undefined
  }

  return {
    waitMs(key) {
      const window = current(key)
      return window === undefined || window.failed < failures ? 0 : Math.max(1, window.endsAt - now())
    },
    failed(key) {
      const window = current(key)
      if (window !== undefined) {
        window.failed++
        return
      }
      if (windows.size >= MOST_KEYS) windows.delete(windows.keys().next().value!)
      windows.set(key, { endsAt: now() + windowMs, failed: 1 })
    },
    forget: (key) => void windows.delete(key),
  }
}
