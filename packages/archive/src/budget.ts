/** The memory that all archives of a process share for the parts they hold. */
export interface ByteBudget {
  /** Waits for `bytes` (at most the whole budget is taken) and returns how to give them back. Rejects with `signal.reason`. */
  acquire(bytes: number, signal: AbortSignal): Promise<() => void>
  /** Parts that hold memory now. */
  readonly holders: number
}

interface Waiter {
  readonly bytes: number
  grant(): void
}

/**
 * A budget of `limit` bytes, granted strictly in the order of asking: an archive asks for one part at a time, so a large one
 * and many small ones take turns, and no part waits for a younger one.
 */
export function createByteBudget(limit: number): ByteBudget {
  let free = limit
  let holders = 0
  const waiting: Waiter[] = []

  function serve(): void {
    while (waiting[0] !== undefined && waiting[0].bytes <= free) waiting.shift()!.grant()
  }

  return {
    get holders() {
      return holders
    },
    acquire(asked, signal) {
      const bytes = Math.min(asked, limit)
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason)
        const waiter: Waiter = {
          bytes,
          grant() {
            signal.removeEventListener("abort", giveUp)
            free -= bytes
            holders++
            let held = true
            resolve(() => {
              if (!held) return
              held = false
              free += bytes
              holders--
              serve()
            })
          },
        }
        const giveUp = () => {
          waiting.splice(waiting.indexOf(waiter), 1)
          reject(signal.reason)
          serve()
        }
        signal.addEventListener("abort", giveUp, { once: true })
        waiting.push(waiter)
        serve()
      })
    },
  }
}
