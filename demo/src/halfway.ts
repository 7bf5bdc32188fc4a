/** Runs an action once, half-way through. */

/**
 * Returns a function to call whenever the number of finished ones changes. It calls `act` once, when half of `count` are done,
 * or before the only one is done.
 */
export function atHalf(count: number, act: (done: number) => void): (done: number) => void {
  let hasActed = false
  return (done) => {
    if (hasActed || done < Math.floor(count / 2)) return
    hasActed = true
    act(done)
  }
}
