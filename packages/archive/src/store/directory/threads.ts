/**
 * A file system that does not respond, such as a dead mount, blocks a thread, and nothing can end that thread. Node has few
 * threads, shared by files and host names (`UV_THREADPOOL_SIZE`, or 4). So a directory gets only some of them, and waiting for
 * a thread, or for the file system, ends when the signal is aborted.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { untilAborted } from "../../waiting.ts"
import type { AdapterOptions } from "../options.ts"
import { endThough } from "./exit.ts"
import { mountOf, readMounts } from "./mounts.ts"

export interface Threads {
  /**
   * Runs `work` as soon as a thread is free, and resolves to its result. After an abort of `signal`, work has a second to end;
   * then this rejects with the reason. The work goes on unseen and keeps its thread, so nobody else may use its memory.
   */
  run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>
}

/**
 * The most threads that one directory can block. All directories of one mount together can block as many, or half of the threads
 * of all directories if that is more.
 */
const MOST_OF_ONE = 4
/** Reserved for host names, keys and everything else outside of directories. */
const KEPT = 4
const NODES_OWN = 4

/** A working file system finishes pending operations within this time. */
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

/** Admits `most` at a time, in the order of requests. */
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
        // It may have been admitted at the same moment.
        if (place >= 0) waiting.splice(place, 1)
        else leave()
        throw reason
      }
    },
  }
}

/** Threads behind several gates, passed in order. */
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
 * Returns a function that gives a directory of `mount` its threads. Of `inAll` threads of the process, all directories together
 * leave some to other uses. A mount dies for all of its directories, so these share half of that, or the threads of one directory if
 * that is more: with Node's own four threads, one dead mount has them all.
 */
export function shareThreads(inAll: number): (mount?: string) => Threads {
  const most = Math.max(Math.ceil(inAll / 2), inAll - KEPT)
  const ofOne = Math.min(MOST_OF_ONE, most)
  const all = createGate(most)
  const mounts = new Map<string, Gate>()
  return (mount) => {
    const own = createGate(ofOne)
    if (mount === undefined) return createThreads([own, all])
    const shared = mounts.get(mount) ?? createGate(Math.max(ofOne, Math.ceil(most / 2)))
    mounts.set(mount, shared)
    // The directory's own gate comes first: whoever waits there must not hold a thread that the mount's other directories could
    // use.
    return createThreads([own, shared, all])
  }
}

/** Threads that are working or blocked. */
let atWork = 0
let share: ((mount?: string) => Threads) | undefined

/** The threads for `directory`, an absolute path. */
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
