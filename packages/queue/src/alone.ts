/**
 * A job that may be what ends or freezes its workers runs alone in one: nothing else is lost with it, and what happens then is its
 * own doing. What is known of a job is kept in its hash: BullMQ counts how often its worker was gone (`stc`), and a worker that
 * was blocked for longer than a lock notes it with each job in hand (`froze`), apart for one that ran alone (`frozeAlone`).
 */
import { untilAborted } from "@unseal/archive/waiting"
import type { RedisClient } from "./client.ts"
import { queueKey } from "./names.ts"

/** From so many lost workers on a job runs alone. Fewer befall any job where workers are killed now and then. */
export const ALONE_FROM_STALLS = 5
/** From so many freezes on. One freeze has as many suspects as its worker had jobs; few of them are there again at the next. */
export const ALONE_FROM_FREEZES = 2
/** A job that has frozen its worker so often while it ran alone is a dead letter. */
export const FREEZE_LIMIT = 2

/** What the workers of a job have noted. */
export interface FreezeRecord {
  readonly froze: number
  readonly frozeAlone: number
}

/** KEYS: job. ARGV: field. A job that is gone stays gone. */
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

/** Notes a freeze with a job that was in hand. */
export async function noteFreeze(
  connection: RedisClient,
  queue: string,
  jobId: string,
  alone: boolean,
): Promise<void> {
  await connection.eval(NOTE, 1, queueKey(queue, jobId), alone ? "frozeAlone" : "froze")
}

/** The runs of one worker, of which one may ask to be alone. */
export interface Room {
  /** Jobs that run, and whether alone. */
  readonly inside: ReadonlyMap<string, boolean>
  /**
   * Resolves with what is to be called when the run has ended, or with `null` while another run is alone, or is to be: the job is
   * to be handed back. One that is to be `alone` waits for those inside; rejects with `signal.reason`.
   */
  enter(jobId: string, alone: boolean, signal: AbortSignal): Promise<(() => void) | null>
}

/** `close` is called before a run waits to be alone, and `open` once it has ended: in between the worker takes no jobs. */
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
