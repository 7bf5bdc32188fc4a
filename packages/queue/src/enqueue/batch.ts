/**
 * The most items in one batch. A full batch starts at once, so that more are prepared while Redis works. With 64, ingest and Redis
 * wait for each other, and ingest takes a third fewer callbacks per second; with 16, a tenth fewer
 * (`npm run bench -- --chapter ingest`).
 */
const MOST = 32

/**
 * Turns `work` into a function of one item. Items of one turn of the event loop are batched, in the order of the calls. `work`
 * must return one result per item, in that order. If it throws, all calls of the batch reject.
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
