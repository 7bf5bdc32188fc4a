/**
 * So many are done together at most, and as soon as they are there: while Redis is at the first, more are got ready. With 64
 * ingest waits for Redis and Redis for it, and takes a third fewer callbacks a second; with 16 a tenth fewer
 * (`npm run bench -- --chapter ingest`).
 */
const MOST = 32

/**
 * `work` for one item at a time, as its callers see it: what is asked for within one turn of the event loop is done together, in
 * the order of asking. `work` gives a result for each item, in their order; what it throws, all of them get.
 */
export function batched<Item, Result>(
  work: (items: readonly Item[]) => Promise<readonly Result[]>,
): (item: Item) => Promise<Result> {
  let waiting: { item: Item; resolve(result: Result): void; reject(error: unknown): void }[] = []

  async function flush(): Promise<void> {
    const batch = waiting
    waiting = []
    if (batch.length === 0) return
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
      if (waiting.push({ item, resolve, reject }) === MOST) void flush()
    })
}
