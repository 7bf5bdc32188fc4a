/** More in one go would keep Redis from everybody else for too long. */
const MOST = 64

/**
 * `work` for one item at a time, as its callers see it: what is asked for within one turn of the event loop is done together, in
 * the order of asking. `work` gives a result for each item, in their order; what it throws, all of them get.
 */
export function batched<Item, Result>(
  work: (items: readonly Item[]) => Promise<readonly Result[]>,
): (item: Item) => Promise<Result> {
  const waiting: { item: Item; resolve(result: Result): void; reject(error: unknown): void }[] = []

  async function flush(): Promise<void> {
    const batch = waiting.splice(0, MOST)
    if (waiting.length > 0) setImmediate(flush)
    try {
      const results = await work(batch.map(({ item }) => item))
      for (const [index, { resolve }] of batch.entries()) resolve(results[index]!)
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  return (item) =>
    new Promise((resolve, reject) => {
      if (waiting.length === 0) setImmediate(flush)
      waiting.push({ item, resolve, reject })
    })
}
