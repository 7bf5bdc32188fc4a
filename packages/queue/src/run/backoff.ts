/** How long a job waits before it is tried again. */

const SECOND = 1_000
const HOUR = 3_600 * SECOND

/**
 * Milliseconds until the next attempt after `attemptsMade` failures: 1 s doubling to 15 min, ± 50 % so that jobs don't return
 * all at once.
 */
export function retryDelayMs(attemptsMade: number, random: () => number = Math.random): number {
  const full = Math.min(SECOND * 2 ** (attemptsMade - 1), 900 * SECOND)
  return Math.round(full * (0.5 + random()))
}

/**
 * Milliseconds until a job looks again for a missing object after waiting `waitedMs`: a tenth of that, but 1 s to 10 s in the first
 * hour, so that an archive is done soon after it appears; then 1 min, and 5 min after six hours.
 */
export function objectWaitDelayMs(waitedMs: number): number {
  if (waitedMs > 6 * HOUR) return 300 * SECOND
  if (waitedMs > HOUR) return 60 * SECOND
  return Math.min(Math.max(Math.round(waitedMs / 10), SECOND), 9 * SECOND)
}

/**
 * Milliseconds until the next look at an object in an archival class: 5 min, 15 after six hours. A restore takes minutes to
 * days.
 */
export function archivedWaitDelayMs(waitedMs: number): number {
  return waitedMs > 6 * HOUR ? 900 * SECOND : 300 * SECOND
}
