/** What the pages show of the queue. No look takes longer for a longer queue, and looks of the same moment are shared. */
import { type QueueOverview, readQueueOverview } from "@unseal/operations/queue-overview"
import { countDeadLetters } from "@unseal/queue/dead-letters/list"
import {
  type ArchiveJob,
  type ArchiveSearch,
  readArchiveJobs,
  searchArchiveJobs,
} from "@unseal/queue/jobs/archive-jobs"
import {
  type ArchivePage,
  type ArchivePageQuery,
  countArchives,
  type ListedState,
  pageArchives,
} from "@unseal/queue/jobs/archive-pages"
import { findJobChain } from "@unseal/queue/jobs/find-job"
import type { RedisClient } from "@unseal/queue/redis/client"
import { readMemory, type ServerMemory } from "@unseal/queue/redis/server"
import type { FailureCode } from "@unseal/queue/run/ending"
import { readThroughput } from "@unseal/queue/throughput"
import { readWorkers, type SeenWorkers } from "@unseal/queue/workers"

export interface Overview extends QueueOverview {
  readonly counts: Readonly<Record<ListedState, number>>
  readonly workers: SeenWorkers
  /** Among the newest that were counted. */
  readonly deadLetters: ReadonlyMap<FailureCode, number>
  /** The longest running ones. */
  readonly running: readonly ArchiveJob[]
  /** `null` if Redis does not tell. */
  readonly memory: ServerMemory | null
  /** Of the last hour, the current minute last. */
  readonly committedPerMinute: readonly number[]
}

export interface QueueView {
  readonly queue: string
  overview(): Promise<Overview>
  /** Discards what was read so far, because somebody has changed the queue. */
  outdate(): void
  page(query: ArchivePageQuery): Promise<ArchivePage>
  /** A job, and those that it was redriven from or as, the first one first. Empty if the queue knows none of them. */
  job(jobId: string): Promise<readonly ArchiveJob[]>
  /** The jobs of archives whose id begins with `archiveId`. */
  search(archiveId: string): Promise<ArchiveSearch>
}

/** Of dead letters, the newest are counted by code; docs/console.md names the number. */
export const DEAD_LETTERS_COUNTED = 2_000
const RUNNING_SHOWN = 10
const MINUTES_SHOWN = 60
/** A search looks through this many keys of Redis, which takes about a second, and shows this many jobs. */
const SEARCH_LIMITS = { keys: 1_000_000, jobs: 50 }
/** Any number of open pages ask Redis once in this time. */
const FRESH_MS = 1_000

export function createQueueView(connection: RedisClient, queue: string): QueueView {
  const overview = shared(async () => {
    const [overview, counts, workers, deadLetters, running, memory, committedPerMinute] = await Promise.all([
      readQueueOverview({ connection, queue }),
      countArchives(connection, queue),
      readWorkers(connection, queue),
      countDeadLetters(connection, queue, DEAD_LETTERS_COUNTED),
      pageArchives(connection, queue, { state: "active", limit: RUNNING_SHOWN }),
      readMemory(connection, queue).catch(() => null),
      readThroughput(connection, queue, MINUTES_SHOWN),
    ])
    return {
      ...overview,
      ...{ counts, workers, deadLetters, running: running.jobs, memory, committedPerMinute },
    }
  })
  return {
    ...{ queue, overview: overview.read, outdate: overview.outdate },
    page: (query) => pageArchives(connection, queue, query),
    job: async (jobId) => readArchiveJobs(connection, queue, await findJobChain(connection, queue, jobId)),
    search: (archiveId) => searchArchiveJobs(connection, queue, archiveId, SEARCH_LIMITS),
  }
}

/** `read`, asked at most once in `FRESH_MS`, unless it is outdated. A failure is not kept. */
function shared<T>(ask: () => Promise<T>): { read(): Promise<T>; outdate(): void } {
  let answer: { promise: Promise<T>; at: number } | undefined
  return {
    read() {
      if (answer !== undefined && performance.now() - answer.at < FRESH_MS) return answer.promise
      const promise = ask()
      answer = { promise, at: performance.now() }
      promise.catch(() => {
        if (answer?.promise === promise) answer = undefined
      })
      return promise
    },
    outdate() {
      answer = undefined
    },
  }
}
