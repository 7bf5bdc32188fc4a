import { createSlabs, slabSize } from "./slabs.ts"

/** Memory for one part, until it is released. */
export interface PartMemory {
  /** The requested number of bytes, with arbitrary content. */
  readonly bytes: Uint8Array
  /** Gives the memory back: nobody may look at `bytes` any more. May be called repeatedly. */
  release(): void
  /** Gives back the share of the budget, but not the memory, which somebody who can't be stopped may still be reading. */
  forfeit(): void
}

/** The memory that all archives of a process share for their parts. */
export interface ByteBudget {
  /**
   * Waits for `bytes` of the budget. A request for more than the whole budget is granted when nothing else is in use. Rejects
   * with `signal.reason`.
   */
  acquire(bytes: number, signal: AbortSignal): Promise<PartMemory>
  /** How many parts hold memory. */
  readonly holders: number
  /** The size of the whole budget in bytes. */
  readonly limit: number
}

/** One budget as each lane of archives sees it. */
export interface LaneBudgets {
  readonly live: ByteBudget
  readonly bulk: ByteBudget
}

/** A budget that shows how much of it is in use, and can be divided. By itself it serves live archives. */
export interface MeasuredBudget extends ByteBudget {
  /** Bytes that parts hold. */
  readonly used: number
  /** Bytes that parts of bulk archives hold. */
  readonly bulkUsed: number
  /** How many parts wait for memory. */
  readonly waiting: number
  readonly lanes: LaneBudgets
  /** A budget of at most `limit` bytes of this one, for both lanes together. A part that waits for this limit holds no memory. */
  within(limit: number): LaneBudgets
}

export interface BudgetOptions {
  /** Percent of the memory that bulk parts get while live ones want all of it: 0 to 50. Default 5. */
  readonly bulkSharePercent?: number
}

/** A limit, and what is in use under it. A part uses at most the whole of it. */
interface Cap {
  readonly limit: number
  used: number
  holders: number
}

interface Waiter {
  /** Of the whole budget. */
  readonly bytes: number
  readonly cap: Cap | undefined
  grant(): void
}

/** Bulk leaves this part of the memory to live archives that have yet to arrive. */
const RESERVE = 1 / 4

/**
 * Creates a budget of `limit` bytes. Live requests go before bulk ones, and each lane is served strictly in the order of requests. An
 * archive requests one part at a time, so a large archive and many small ones take turns, and no part waits for a later request of
 * its lane. Only a request that its own cap (`within`) holds back lets later ones pass.
 *
 * While both lanes wait, each byte granted to live earns bulk its share. Once the earnings cover the first bulk request, that
 * request is next, even if everybody has to wait until there is room for it. So no part of either lane waits for ever. The
 * earnings never exceed one request, and expire when no bulk request waits.
 *
 * Memory is reused instead of being left to the garbage collector, which would let it grow far beyond the limit.
 */
export function createByteBudget(
  limit: number,
  { bulkSharePercent = 5 }: BudgetOptions = {},
): MeasuredBudget {
  const slabs = createSlabs(limit)
  const bulkMost = limit * (1 - RESERVE)
  // In hundredths of bytes.
  const costOf = ({ bytes }: Waiter) => bytes * (100 - bulkSharePercent)
  const all: Cap = { limit, used: 0, holders: 0 }
  const bulk: Cap = { limit, used: 0, holders: 0 }
  const lines = { live: [] as Waiter[], bulk: [] as Waiter[] }
  let earned = 0

  /** The first of `line` that is held back neither by a cap nor by an earlier request under the same cap. */
  function firstOf(line: readonly Waiter[]): Waiter | undefined {
    const held = new Set<Cap>()
    return line.find(({ bytes, cap }) => {
      if (cap === undefined) return true
      if (!held.has(cap) && cap.used + Math.min(bytes, cap.limit) <= cap.limit) return true
      held.add(cap)
      return false
    })
  }

  function serve(): void {
    for (;;) {
      const live = firstOf(lines.live)
      const first = firstOf(lines.bulk)
      const room = first !== undefined && (bulk.used === 0 || bulk.used + first.bytes <= bulkMost)
      const second = room ? first : undefined
      const isBulk = second !== undefined && (live === undefined || earned >= costOf(second))
      const next = isBulk ? second : live
      if (next === undefined || all.used + next.bytes > limit) return
      if (isBulk) earned = Math.max(0, earned - costOf(next))
      else
        earned = second === undefined ? 0 : Math.min(earned + next.bytes * bulkSharePercent, costOf(second))
      remove(isBulk ? lines.bulk : lines.live, next)
      next.grant()
    }
  }

  function acquire(lane: keyof LaneBudgets, cap: Cap | undefined, asked: number, signal: AbortSignal) {
    // Whole slabs are charged, so what is held is what was granted.
    const bytes = Math.min(slabSize(asked), limit)
    const charged = [all, ...(lane === "bulk" ? [bulk] : []), ...(cap ? [cap] : [])]
    const charge = (sign: 1 | -1) => {
      for (const one of charged) {
        one.used += sign * Math.min(bytes, one.limit)
        one.holders += sign
      }
    }
    return new Promise<PartMemory>((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const waiter: Waiter = {
        ...{ bytes, cap },
        grant() {
          signal.removeEventListener("abort", giveUp)
          charge(1)
          // Allocated at the first use: callers that only count need no memory.
          let slab: Uint8Array | undefined
          let held = true
          function end(use: (slab: Uint8Array) => void): void {
            if (!held) return
            held = false
            if (slab !== undefined) use(slab)
            charge(-1)
            serve()
          }
          resolve({
            get bytes() {
              if (!held) throw new RangeError("memory was given back already")
              slab ??= slabs.take(asked)
              return slab.subarray(0, asked)
            },
            release: () => end(slabs.put),
            forfeit: () => end(slabs.forget),
          })
        },
      }
      const giveUp = () => {
        remove(lines[lane], waiter)
        reject(signal.reason)
        serve()
      }
      signal.addEventListener("abort", giveUp, { once: true })
      lines[lane].push(waiter)
      serve()
    })
  }

  function lanesOf(cap?: Cap): LaneBudgets {
    const { limit } = cap ?? all
    const laneOf = (lane: keyof LaneBudgets): ByteBudget => ({
      limit,
      get holders() {
        return (cap ?? all).holders
      },
      acquire: (bytes, signal) => acquire(lane, cap, bytes, signal),
    })
    return { live: laneOf("live"), bulk: laneOf("bulk") }
  }

  const lanes = lanesOf()
  return {
    ...{ limit, lanes },
    acquire: lanes.live.acquire,
    within: (most) => lanesOf({ limit: most, used: 0, holders: 0 }),
    get holders() {
      return all.holders
    },
    get used() {
      return all.used
    },
    get bulkUsed() {
      return bulk.used
    },
    get waiting() {
      return lines.live.length + lines.bulk.length
    },
  }
}

function remove<T>(from: T[], one: T): void {
  from.splice(from.indexOf(one), 1)
}
