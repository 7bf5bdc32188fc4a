/**
 * A file system that does not answer, as a dead mount, blocks a thread for as long as that lasts, and nothing can end it. Node has
 * a few threads for files and host names alike (`UV_THREADPOOL_SIZE`, or 4), so a directory gets some of them only, and whoever
 * waits for one, or for the file system, waits until its signal is aborted.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { untilAborted } from "../../waiting.ts"
import type { AdapterOptions } from "../adapter.ts"
import { endThough } from "./exit.ts"
import { mountOf, readMounts } from "./mounts.ts"

export interface Threads {
  /**
   * What `work` resolves to, begun as soon as a thread is free. After an abort of `signal` it has a second to end, then this rejects
   * with the reason. The work goes on unseen and keeps its thread, and what it reads or writes must be nobody else's meanwhile.
   */
  run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>
}

/** Threads that one directory can block at most. All directories of one mount can block half of what directories have. */
const MOST_OF_ONE = 4
/** Left for host names, keys and whatever else is no directory's. */
const KEPT = 4
const NODES_OWN = 4

/** A file system that works ends in so long what it has begun, in order. */
const GRACE_MS = 1_000

async function untilGivenUp<T>(working: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await untilAborted(working, signal)
  } catch (error) {
    if (!signal.aborted) throw error
    const ended = working.then((value) => ({ value }))
    const last = await Promise.race([ended, sleep(GRACE_MS, undefined, { ref: false })])
    if (last === undefined) throw signal.reason
    return last.value
  }
}

interface Gate {
  enter(signal: AbortSignal | undefined): Promise<void>
  leave(): void
}

/** Lets `most` in at a time, in the order of asking. */
function createGate(most: number): Gate {
  let free = most
  const waiting: (() => void)[] = []
  const leave = () => {
    const next = waiting.shift()
    if (next === undefined) free++
    else next()
  }
  return {
    leave,
    async enter(signal) {
      if (free > 0) return void free--
      const { promise, resolve } = Promise.withResolvers<void>()
      waiting.push(resolve)
      if (signal === undefined) return promise
      try {
        await untilAborted(promise, signal)
      } catch (reason) {
        const place = waiting.indexOf(resolve)
        // It may have been let in at the same moment.
        if (place >= 0) waiting.splice(place, 1)
        else leave()
        throw reason
      }
    },
  }
}

/** Through one gate after the other. */
function createThreads(gates: readonly Gate[]): Threads {
  return {
    async run(work, signal) {
      signal?.throwIfAborted()
      const entered: Gate[] = []
      const leave = () => {
        for (const gate of entered) gate.leave()
      }
      try {
        for (const gate of gates) {
          await gate.enter(signal)
          entered.push(gate)
        }
        signal?.throwIfAborted()
      } catch (reason) {
        leave()
        throw reason
      }
      atWork++
      const working = (async () => work())().finally(() => {
        atWork--
        leave()
      })
      return signal ? untilGivenUp(working, signal) : working
    },
  }
}

/**
 * Gives a directory of `mount` its threads. Of `inAll` that the process has, all directories together leave some to whatever is
 * none, and those of one mount, which is dead for all of them, half to those of others.
 */
export function shareThreads(inAll: number): (mount?: string) => Threads {
  const most = Math.max(Math.ceil(inAll / 2), inAll - KEPT)
  const all = createGate(most)
  const mounts = new Map<string | undefined, Gate>()
  return (mount) => {
    const shared = mounts.get(mount) ?? createGate(Math.ceil(most / 2))
    if (mount !== undefined) mounts.set(mount, shared)
    const own = createGate(Math.min(MOST_OF_ONE, most))
    return createThreads(mount === undefined ? [own, all] : [own, shared, all])
  }
}

/** Threads that do something, or are blocked. */
let atWork = 0
let share: ((mount?: string) => Threads) | undefined

/** The threads of `directory`, an absolute path. */
export function directoryThreads(
  directory: string,
  { UV_THREADPOOL_SIZE: size }: AdapterOptions["env"],
): Threads {
  if (share === undefined) {
    share = shareThreads(Number(size) || NODES_OWN)
    endThough(() => atWork > 0)
  }
  return share(mountOf(directory, readMounts()))
}
