/** Redis never says "no" while it is away: a command simply does not return. This puts an end to the waiting. */

/** What `work` resolves to, or a rejection with `onTimeout()` after `ms`. The work itself goes on unseen. */
export function withDeadline<T>(work: Promise<T>, ms: number, onTimeout: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(onTimeout()), Math.max(0, ms))
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
