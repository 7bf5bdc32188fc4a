/** Random choices that depend only on a seed, so that a run can be repeated. */
export interface Random {
  /** A number in [0, 1). */
  next(): number
  /** A whole number from `min` to `max`. */
  integer(min: number, max: number): number
  pick<Item>(items: readonly Item[]): Item
  /** Creates an independent sequence: the draws of one part of a test don't depend on those of another. */
  fork(): Random
}

/** Mulberry32. */
export function createRandom(seed: number): Random {
  let state = seed | 0
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const integer = (min: number, max: number) => min + Math.floor(next() * (max - min + 1))
  return {
    next,
    integer,
    pick(items) {
      const item = items[integer(0, items.length - 1)]
      if (item === undefined) throw new RangeError("nothing to pick from")
      return item
    },
    fork: () => createRandom(integer(0, 2 ** 31)),
  }
}
