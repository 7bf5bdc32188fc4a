/** While Redis is away it never says no: a command simply does not return. This limits the wait. */

/** Resolves like `work`, or rejects with `onTimeout()` after `ms`. The work itself goes on unseen. */
export function withDeadline<T>(work: Promise<T>, ms: number, onTimeout: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(onTimeout()), Math.max(0, ms))
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
