/** Something that is done once, half-way through. */

/** Is told how many of `count` are done as often as that changes; calls `act` once, when half of them are. Of a single one, before it is done. */
export function atHalf(count: number, act: (done: number) => void): (done: number) => void {
  let hasActed = false
  return (done) => {
    if (hasActed || done < Math.floor(count / 2)) return
    hasActed = true
    act(done)
  }
}
