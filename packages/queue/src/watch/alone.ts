/**
 * A job that may end or freeze its workers runs alone in a worker: no other job is lost with it, and a freeze is clearly its own
 * doing. A job's hash keeps the evidence: BullMQ counts how often its worker disappeared (`stc`), and a worker that was blocked
 * for longer than a lock notes that with each running job (`froze`), separately for a job that ran alone (`frozeAlone`).
 */
import { untilAborted } from "@unseal/archive/waiting"
import { queueKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"

/** From this many lost workers on, a job runs alone. Fewer happen to any job if workers are killed now and then. */
export const ALONE_FROM_STALLS = 5
/**
 * From this many freezes on. One freeze has as many suspects as its worker had jobs. Few of them are there at the next freeze.
 */
export const ALONE_FROM_FREEZES = 2
/** A job that froze its worker this often while it ran alone becomes a dead letter. */
export const FREEZE_LIMIT = 2

/** What a job's workers have noted. */
export interface FreezeRecord {
  readonly froze: number
  readonly frozeAlone: number
}

/** KEYS: job. ARGV: field. Does not recreate a removed job. */
const NOTE = `
if redis.call("EXISTS", KEYS[1]) == 0 then return 0 end
return redis.call("HINCRBY", KEYS[1], ARGV[1], 1)`

export async function readFreezes(
  connection: RedisClient,
  queue: string,
  jobId: string,
): Promise<FreezeRecord> {
  const [froze, frozeAlone] = await connection.hmget(queueKey(queue, jobId), "froze", "frozeAlone")
  return { froze: Number(froze ?? 0), frozeAlone: Number(frozeAlone ?? 0) }
}

/** Notes a freeze with a running job. */
export async function noteFreeze(
  connection: RedisClient,
  queue: string,
  jobId: string,
  alone: boolean,
): Promise<void> {
  await connection.eval(NOTE, 1, queueKey(queue, jobId), alone ? "frozeAlone" : "froze")
}

/** The runs of one worker. One of them can ask to be alone. */
export interface Room {
  /** Running jobs, and whether each runs alone. */
  readonly inside: ReadonlyMap<string, boolean>
  /**
   * Resolves to a function to call when the run has ended. Resolves to `null` while another run is, or waits to be, alone: hand the
   * job back. With `alone`, waits until those inside have left. Rejects with `signal.reason`.
   */
  enter(jobId: string, alone: boolean, signal: AbortSignal): Promise<(() => void) | null>
}

/** Calls `close` before a run waits to be alone, and `open` once it has ended. In between the worker takes no jobs. */
export function createRoom(door: { close(jobId: string): void; open(): void }): Room {
  const inside = new Map<string, boolean>()
  let closed = false
  let emptied = () => {}

  function leave(jobId: string, alone: boolean): void {
    inside.delete(jobId)
    if (inside.size === 0) emptied()
    if (alone) open()
  }

  function open(): void {
    closed = false
    door.open()
  }

  return {
    inside,
    async enter(jobId, alone, signal) {
      if (closed) return null
      if (alone) {
        closed = true
        door.close(jobId)
        const { promise, resolve } = Promise.withResolvers<void>()
        emptied = resolve
        if (inside.size === 0) resolve()
        await untilAborted(promise, signal).catch((reason) => {
          open()
          throw reason
        })
      }
      inside.set(jobId, alone)
      return () => leave(jobId, alone)
    },
  }
}
