/** What the observer's metrics say about the queue, read together. */

import { type Accounts, readAccounts } from "../accounting.ts"
import { type Backlog, readBacklog } from "../backlog.ts"
import { countDeadLetters } from "../dead-letters/list.ts"
import { countArchives } from "../jobs/archive-pages.ts"
import { LANES, type Lane } from "../jobs/lane.ts"
import { countersKey, queueKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import type { FailureCode } from "../run/ending.ts"
import { readLane } from "../status.ts"
import { listSuspensions, type Suspension } from "../suspension/state.ts"
import { readSweep } from "../sweep-note.ts"
import { readOldestJobs } from "../unfinished-jobs.ts"

/** Each job is in one of these. `delayed`: it waits for its next attempt or its object; `suspended`: for its project. */
export type JobState = "waiting" | "active" | "delayed" | "suspended" | "completed" | "failed"

export interface QueueState {
  readonly jobs: Readonly<Record<JobState, number>>
  readonly lanes: Readonly<Record<Lane, LaneState>>
  /** Since the oldest unfinished job of the live lane was added; 0 if there is none. */
  readonly oldestUnfinishedSeconds: number
  readonly backlog: Backlog
  readonly accounts: Accounts
  /** Among the newest 2000. */
  readonly deadLetters: ReadonlyMap<FailureCode, number>
  /** Since the oldest dead letter was given up; 0 if there is none. */
  readonly oldestDeadLetterSeconds: number
  readonly suspensions: readonly Suspension[]
  /** Since a callback last enqueued an archive, or found it in the queue; `null` before the first. */
  readonly lastCallbackSeconds: number | null
  /** The janitor's last sweep; `null` before the first. */
  readonly sweep: Awaited<ReturnType<typeof readSweep>>
}

/** What could begin now in one lane. */
export interface LaneState {
  readonly waiting: number
  readonly waitingBytes: number
  /** Since the oldest one was added; 0 if none waits. */
  readonly oldestWaitingSeconds: number
}

const DEAD_LETTERS = 2_000

/** The current state. A few counts and looks, whatever the queue's length. */
export async function readQueueState(connection: RedisClient, queue: string): Promise<QueueState> {
  const [
    counts,
    inLine,
    oldest,
    backlog,
    accounts,
    deadLetters,
    oldestDead,
    suspensions,
    callbackAt,
    sweep,
    time,
  ] = await Promise.all([
    countArchives(connection, queue),
    Promise.all(LANES.map((lane) => readLane(connection, queue, lane))),
    Promise.all(LANES.map((lane) => readOldestJobs(connection, queue, lane))),
    readBacklog(connection, queue),
    readAccounts(connection, queue),
    countDeadLetters(connection, queue, DEAD_LETTERS),
    connection.zrange(queueKey(queue, "failed"), "0", "0", "WITHSCORES"),
    listSuspensions(connection, queue),
    connection.hget(countersKey(queue), "callbackAt"),
    readSweep(connection, queue),
    connection.time() as unknown as Promise<[string, string]>,
  ])
  const { dead, committed, ...live } = counts
  const nowMs = Number(time[0]) * 1_000 + Number(time[1]) / 1_000
  const secondsSince = (at: string | null | undefined) =>
    at === null || at === undefined ? null : Math.max(0, (nowMs - Number(at)) / 1_000)
  const laneOf = (lane: Lane, waitingBytes: number): LaneState => {
    const { waiting, oldestWaitingSeconds } = inLine[LANES.indexOf(lane)]!
    // Jobs of an earlier version are only in the line.
    const seconds = Math.max(oldest[LANES.indexOf(lane)]!.waitingSeconds ?? 0, oldestWaitingSeconds)
    return { waiting, waitingBytes, oldestWaitingSeconds: seconds }
  }
  const { waitingBytes, waitingBulkBytes } = backlog
  const lanes = {
    live: laneOf("live", waitingBytes - waitingBulkBytes),
    bulk: laneOf("bulk", waitingBulkBytes),
  }
  return {
    jobs: { ...live, completed: committed, failed: dead },
    lanes,
    oldestUnfinishedSeconds: Math.max(oldest[0]!.unfinishedSeconds, lanes.live.oldestWaitingSeconds),
    ...{ backlog, accounts, deadLetters, suspensions, sweep },
    oldestDeadLetterSeconds: secondsSince(oldestDead[1]) ?? 0,
    lastCallbackSeconds: secondsSince(callbackAt),
  }
}
