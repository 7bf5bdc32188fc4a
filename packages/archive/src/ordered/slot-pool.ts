/** A fixed number of slots. Each is lent to one user at a time, in the order of requests. */

export interface SlotPool {
  /**
   * Waits for a slot and calls `use` with it. If `use` throws or returns `done`, the slot is free again at once; after `sent`,
   * `giveBack` frees it. Rejects with the error of `use`, with the pool's failure, or with `signal.reason`.
   */
  use(signal: AbortSignal | undefined, use: (slot: number) => "sent" | "done"): Promise<void>
  /** Frees a slot that was sent. */
  giveBack(slot: number): void
  /** Rejects all waiting and later users with `error`: no slot will be given back. */
  fail(error: Error): void
}

interface Waiter {
  take(slot: number): void
  reject(error: unknown): void
}

/** Creates a pool of the slots 0 to `count` - 1. */
export function createSlotPool(count: number): SlotPool {
  const free = Array.from({ length: count }, (_, slot) => slot)
  const waiting: Waiter[] = []
  let failure: Error | undefined

  function giveBack(slot: number): void {
    const next = waiting.shift()
    if (next === undefined) free.push(slot)
    else next.take(slot)
  }

  function slotFor(signal: AbortSignal | undefined): Promise<number> {
    return new Promise((resolve, reject) => {
      if (failure !== undefined) return reject(failure)
      if (signal?.aborted) return reject(signal.reason)
      const slot = free.pop()
      if (slot !== undefined) return resolve(slot)
      const over = () => signal?.removeEventListener("abort", giveUp)
      const waiter = {
        take(slot: number) {
          over()
          resolve(slot)
        },
        reject(error: unknown) {
          over()
          reject(error)
        },
      }
      function giveUp() {
        waiting.splice(waiting.indexOf(waiter), 1)
        reject(signal!.reason)
      }
      signal?.addEventListener("abort", giveUp, { once: true })
      waiting.push(waiter)
    })
  }

  return {
    async use(signal, use) {
      const slot = await slotFor(signal)
      let sent = false
      try {
        signal?.throwIfAborted()
        sent = use(slot) === "sent"
      } finally {
        if (!sent) giveBack(slot)
      }
    },
    giveBack,
    fail(error) {
      failure = error
      for (const waiter of waiting.splice(0)) waiter.reject(error)
    },
  }
}
