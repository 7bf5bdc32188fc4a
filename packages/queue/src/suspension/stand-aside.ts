/**
 * Handles a worker that is itself broken among healthy ones: its network or disk is gone, its keys can't be read, its credentials
 * were never mounted. It would suspend a project again and again, and each time a healthy worker would end that. So a worker that
 * has failed twice where others succeeded meanwhile, and has not succeeded itself, stands aside from that side of the project: it
 * takes no archive that needs it, suspends nothing, and looks again with one archive at growing intervals. Its first success brings it back.
 *
 * What it does not take stays in line for the others. Only this worker lets other archives go first.
 */
import type { Side } from "@unseal/archive/errors"
import { LIVE_MARKER } from "../bullmq/take-live.ts"
import type { RedisClient } from "../redis/client.ts"
import type { QueueLogger } from "../redis/error-log.ts"
import type { FailureCode } from "../run/ending.ts"
import { COMMON } from "./scripts.ts"
import { parseName, runScript, wordOf } from "./state.ts"

/** After this many failures, each followed by others' success and none of its own, a worker stands aside. */
export const MOST_STRIKES = 2
/** How soon a job offered as a look must begin. */
const OFFER_MS = 1_000
/** How far down the line to search for an archive that this worker may take. */
const WINDOW = 1_000

/** A project's side from which this worker stands aside. */
export interface Aside {
  readonly projectId: string
  readonly side: Side
  readonly code: FailureCode
}

interface Failing {
  /** The time of the last failure, by Redis's clock. */
  readonly at: number
  readonly strikes: number
}

interface Standing extends Aside {
  readonly since: number
  looks: number
  intervalMs: number
  nextLookAt: number
  /** No second job is taken as a look before then. */
  offeredUntil: number
  /** The job with which it looks. */
  look?: string
}

/** The details of a failure. */
export interface Failure extends Failing {
  readonly code: FailureCode
  readonly reason: string
  readonly remedy: string
}

/** Names are those of suspensions: `PROJECT:SIDE`. */
export interface Asides {
  list(): Aside[]
  /** What HIT needs to know about this worker's last failure. */
  failing(name: string): { readonly lastHitAt: number; readonly strikes: number }
  failed(name: string, failure: Failure): void
  worked(name: string): void
  /** Whether this worker may run a job that needs `names`. A job that it may run although it stands aside is its look. */
  admits(names: readonly string[], jobId: string): boolean
  ended(jobId: string): void
  /**
   * Whether a job in line is for this worker; that job is then the next one. With `onlyLive`, bulk jobs are for other workers.
   * Asks Redis only while the worker stands aside.
   */
  mayTake(onlyLive?: boolean): Promise<boolean>
}

export interface AsideOptions {
  readonly connection: RedisClient
  readonly queue: string
  readonly logger?: QueueLogger
  /** Milliseconds. Default `performance.now`. */
  readonly now?: () => number
  /** The time until the first look. It doubles with each further one. Default 5000. */
  readonly firstMs?: number
  /** The longest time between two looks. Default 60000. */
  readonly mostMs?: number
}

export function createAsides(options: AsideOptions): Asides {
  const { connection, queue, logger, firstMs = 5_000, mostMs = 60_000 } = options
  const now = options.now ?? (() => performance.now())
  const failing = new Map<string, Failing>()
  const standing = new Map<string, Standing>()

  const isShut = (one: Standing) => one.look !== undefined || now() < one.nextLookAt

  function standAside(name: string, { code, reason, remedy }: Failure): void {
    const intervalMs = firstMs
    const since = now()
    const times = { since, intervalMs, nextLookAt: since + intervalMs, offeredUntil: 0 }
    standing.set(name, { ...parseName(name), code, looks: 0, ...times })
    logger?.warn(
      { ...parseName(name), code, reason, remedy, nextLookSeconds: intervalMs / 1_000 },
      "this worker stands aside from the project: others succeed where it fails",
    )
  }

  function lookLater(one: Standing): void {
    one.looks++
    one.intervalMs = Math.min(2 * one.intervalMs, mostMs)
    one.nextLookAt = now() + one.intervalMs
  }

  return {
    list: () => [...standing.values()].map(({ projectId, side, code }) => ({ projectId, side, code })),
    failing(name) {
      const { at: lastHitAt = 0, strikes = 0 } = failing.get(name) ?? {}
      return { lastHitAt, strikes }
    },
    failed(name, failure) {
      const { at, strikes } = failure
      failing.set(name, { at, strikes })
      if (strikes < MOST_STRIKES) return
      const one = standing.get(name)
      if (one === undefined) standAside(name, failure)
      else if (one.look !== undefined) {
        delete one.look
        lookLater(one)
      }
    },
    worked(name) {
      failing.delete(name)
      const one = standing.get(name)
      if (!standing.delete(name)) return
      const { projectId, side, code, since, looks } = one!
      const seconds = (now() - since) / 1_000
      logger?.info(
        { projectId, side, code, seconds, failedLooks: looks },
        "this worker takes the project's archives again",
      )
    },
    admits(names, jobId) {
      const asides = names.flatMap((name) => standing.get(name) ?? [])
      if (asides.some(isShut)) return false
      for (const one of asides) one.look = jobId
      return true
    },
    ended(jobId) {
      // That look had no result, so the next may come at once.
      for (const one of standing.values()) if (one.look === jobId) delete one.look
    },
    async mayTake(onlyLive = false) {
      const shut: { readonly ofProject: string; readonly word: string }[] = []
      for (const one of standing.values())
        if (isShut(one) || now() < one.offeredUntil)
          shut.push({ ofProject: `${one.projectId}_`, word: wordOf(one.side) })
        else one.offeredUntil = now() + OFFER_MS
      if (shut.length === 0) return true
      return (await runScript(connection, queue, PICK, { shut, onlyLive, window: WINDOW })) === 1
    },
  }
}

/**
 * Moves the first job that needs nothing `shut`, and is live if `onlyLive`, to the head of the line. Returns 1 if there is such a
 * job, or no job at all. Returns 0 if all jobs are for other workers, and wakes one of those: this worker may have taken the
 * marker that would have done it.
 */
const PICK = `${COMMON}
local function isOpen(id)
  for _, one in ipairs(a.shut) do
    if string.sub(id, 1, #one.ofProject) == one.ofProject then
      if one.word == "" then return false end
      if string.find(redis.call("HGET", bull .. id, "data") or "", one.word, 1, true) then return false end
    end
  end
  return not a.onlyLive or not string.find(redis.call("HGET", bull .. id, "data") or "", '"lane":"bulk"', 1, true)
end
-- The next job is the last of the list. The prioritized jobs come after the list.
local first = redis.call("LRANGE", bull .. "wait", -a.window, -1)
for i = #first, 1, -1 do
  if isOpen(first[i]) then
    if i < #first then
      redis.call("LREM", bull .. "wait", -1, first[i])
      redis.call("RPUSH", bull .. "wait", first[i])
    end
    return 1
  end
end
local line = redis.call("ZRANGE", bull .. "prioritized", 0, a.window - 1)
if #first == 0 and #line == 0 then return 1 end
for i, id in ipairs(line) do
  if isOpen(id) then
    if i > 1 or #first > 0 then
      redis.call("ZREM", bull .. "prioritized", id)
      redis.call("RPUSH", bull .. "wait", id)
    end
    return 1
  end
end
for _, marker in ipairs({ "marker", "${LIVE_MARKER}" }) do redis.call("ZADD", bull .. marker, 0, "0") end
return 0`
