/** Waits that end: each function checks its signal before it waits, and none leaves work behind unseen. */

import { setTimeout as sleep } from "node:timers/promises"

/** Waits for `ms` milliseconds. Rejects with `signal.reason`, at once if it is already aborted. */
export async function rest(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted()
  try {
    await sleep(ms, undefined, signal ? { signal } : {})
  } catch (interrupted) {
    throw signal?.aborted ? signal.reason : interrupted
  }
}

/** How the pauses between tries grow. */
export interface BackoffOptions {
  /** The upper bound of the first pause, in milliseconds. It doubles with each further pause. Default 100. */
  readonly baseMs?: number | undefined
  /** The longest pause, in milliseconds. */
  readonly maxMs?: number | undefined
  /** A number in [0, 1). Default `Math.random`. */
  readonly random?: (() => number) | undefined
}

/** Milliseconds to wait after `failures` in a row: exponential backoff with full jitter; the bound doubles with each pause. */
export function backoffMs(
  failures: number,
  {
    baseMs,
    maxMs,
    random = Math.random,
  }: { baseMs: number; maxMs: number; random?: (() => number) | undefined },
): number {
  return random() * Math.min(maxMs, baseMs * 2 ** (failures - 1))
}

/** Resolves like `work`, or rejects with `signal.reason` as soon as `signal` is aborted. The work itself goes on unseen. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(signal.reason)
    if (signal.aborted) {
      work.catch(() => {})
      return giveUp()
    }
    signal.addEventListener("abort", giveUp, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", giveUp))
  })
}

/**
 * Resolves like `work`, or rejects with `onTimeout()` after `ms`. The work itself goes on unseen. For peers that never say no: a
 * command of Redis, for one, does not return while Redis is away.
 */
export function withDeadline<T>(work: Promise<T>, ms: number, onTimeout: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(onTimeout()), Math.max(0, ms))
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/**
 * The results of all `work`, once all of it has ended. Rejects with the first failure in list order. Unlike `Promise.all` it never
 * returns while something still uses what the caller releases next.
 */
export async function allEnded<const T extends readonly unknown[]>(
  work: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const ended = await Promise.allSettled(work)
  const failed = ended.find((one) => one.status === "rejected")
  if (failed !== undefined) throw failed.reason
  return ended.map((one) => (one as PromiseFulfilledResult<unknown>).value) as {
    -readonly [K in keyof T]: Awaited<T[K]>
  }
}

/** Admits numbered work one at a time: 1, 2, 3 and so on. */
export interface Turns {
  /** Resolves when all numbers before `number` have passed. Rejects with `signal.reason`. */
  of(number: number, signal: AbortSignal): Promise<void>
  /** Ends the turn of the number that has it. */
  pass(): void
}

/** Turns that begin with number 1. */
export function createTurns(): Turns {
  let next = 1
  const waiting = new Map<number, () => void>()
  return {
    async of(number, signal) {
      signal.throwIfAborted()
      if (number === next) return
      const { promise, resolve } = Promise.withResolvers<void>()
      waiting.set(number, resolve)
      await untilAborted(promise, signal)
    },
    pass() {
      next++
      waiting.get(next)?.()
      waiting.delete(next)
    },
  }
}
