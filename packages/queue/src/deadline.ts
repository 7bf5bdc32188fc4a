/** Redis never says "no" while it is away: a command simply does not return. These two put an end to the waiting. */

/** What `work` resolves to, or a rejection with `onTimeout()` after `ms`. The work itself goes on unseen. */
export function withDeadline<T>(work: Promise<T>, ms: number, onTimeout: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(onTimeout()), Math.max(0, ms))
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/** What `work` resolves to, or a rejection with `signal.reason` as soon as `signal` is aborted. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(signal.reason)
    if (signal.aborted) {
      work.catch(() => {})
      return giveUp()
    }
    signal.addEventListener("abort", giveUp, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", giveUp))
  })
}
