/** The queue as bull-board sees it: what our own pages know of jobs, and nothing that changes them. */
import { BaseAdapter } from "@bull-board/api/dist/queueAdapters/base.js"
import type {
  JobCounts,
  JobState,
  JobStatus,
  QueueJob,
  QueueJobJson,
  Status,
} from "@bull-board/api/typings/app"
import type { QueuedJob, Structure } from "@unseal/queue/jobs/structures"
import { JOB_NAME } from "@unseal/queue/names"
import type { BoardView } from "./view.ts"

/** bull-board's names, in the order of its tabs. */
const STRUCTURE_OF = {
  ...{ active: "active", waiting: "wait", prioritized: "prioritized", paused: "paused" },
  ...{ delayed: "delayed", failed: "failed", completed: "completed" },
} as const satisfies Partial<Record<JobStatus, Structure>>
type Shown = keyof typeof STRUCTURE_OF
const SHOWN = Object.keys(STRUCTURE_OF) as Shown[]

const STATE_OF: Readonly<Record<QueuedJob["job"]["state"], JobState>> = {
  ...{ waiting: "waiting", running: "active", delayed: "delayed", held: "delayed" },
  ...{ dead: "failed", completed: "completed", orphaned: "unknown" },
}

/**
 * This is not built on bull-board's adapter for BullMQ. That adapter reads whole jobs, and its formatters can't remove anything
 * from options, reasons or logs. Here, no password and no URL leaves Redis.
 */
export class BoardQueue extends BaseAdapter {
  readonly #view: BoardView

  constructor(view: BoardView) {
    super("bullmq", {
      readOnlyMode: true,
      externalJobUrl: ({ id }) => ({
        displayName: "This archive",
        href: `/jobs/${encodeURIComponent(String(id))}`,
      }),
    })
    this.#view = view
  }

  getName(): string {
    return this.#view.queue
  }
  getStatuses(): Status[] {
    return ["latest", ...SHOWN]
  }
  getJobStatuses(): JobStatus[] {
    return SHOWN
  }
  async getJobCounts(): Promise<JobCounts> {
    const counts = await this.#view.counts()
    return Object.fromEntries(SHOWN.map((name) => [name, counts[STRUCTURE_OF[name]]])) as JobCounts
  }
  async getJobs(statuses: JobStatus[], first = 0, last = 0): Promise<QueueJob[]> {
    const wanted = SHOWN.filter((name) => statuses.includes(name))
    const pages = await Promise.all(wanted.map((name) => this.#view.page(STRUCTURE_OF[name], first, last)))
    return pages.flat().map(jobOf)
  }
  async getJob(id: string): Promise<QueueJob | null> {
    const found = await this.#view.job(id)
    return found && jobOf(found)
  }
  isPaused(): Promise<boolean> {
    return this.#view.isPaused()
  }
  override async getWorkers() {
    const workers = await this.#view.workers()
    if (workers === null) return null
    return workers.map(({ name, connectedSeconds }, index) => ({
      ...{ id: String(index), name, addr: name, age: connectedSeconds },
    }))
  }

  // Our jobs do not keep what follows, or other pages show it.
  getJobLogs(): Promise<string[]> {
    return Promise.resolve([])
  }
  getMetrics(): Promise<never> {
    return refuse()
  }
  getRedisInfo(): Promise<null> {
    return Promise.resolve(null)
  }
  getJobSchedulers(): Promise<[]> {
    return Promise.resolve([])
  }
  getJobSchedulersCount(): Promise<number> {
    return Promise.resolve(0)
  }
  getGlobalConcurrency(): Promise<null> {
    return Promise.resolve(null)
  }

  // Everything that would change something. The routes that would call these do not exist either (routes.ts).
  clean = refuse
  addJob = refuse
  pause = refuse
  resume = refuse
  empty = refuse
  obliterate = refuse
  promoteAll = refuse
  removeJobScheduler = refuse
  updateJobScheduler = refuse
  runJobSchedulerNow = refuse
  setGlobalConcurrency = refuse
}

function refuse(): Promise<never> {
  return Promise.reject(new Error("bull-board only shows the queue here"))
}

function jobOf(queued: QueuedJob): QueueJob {
  return {
    opts: {},
    promote: refuse,
    remove: refuse,
    retry: refuse,
    toJSON: () => jsonOf(queued),
    getState: () => Promise.resolve(STATE_OF[queued.job.state]),
  }
}

function jsonOf({ job, priority, starts, delayMs }: QueuedJob): QueueJobJson {
  const { upload, failure, suspension, result } = job
  const begun = job.state === "running" ? job.since : undefined
  const ended = ["dead", "completed"].includes(job.state) ? Date.parse(job.since) : undefined
  const known = {
    ...{ projectId: job.projectId, archiveId: job.archiveId, lane: job.lane, state: job.state },
    ...{ receivedAt: job.receivedAt, status: job.status, announcedBytes: job.announcedBytes },
    ...{ missingSince: job.missingSince, archivedSince: job.archivedSince, until: job.until },
    suspension: suspension && { side: suspension.side, code: suspension.code, isProbe: suspension.isProbe },
    upload: upload && {
      ...{ destinationKey: upload.destinationKey, parts: upload.parts, partsWritten: upload.partsWritten },
      ...{ bytes: upload.bytes, bytesWritten: upload.bytesWritten },
    },
    damaged: job.damaged,
  }
  const processedOn =
    begun !== undefined
      ? Date.parse(begun)
      : ended !== undefined && job.runMs !== undefined
        ? ended - job.runMs
        : undefined
  return {
    ...{ id: job.jobId, name: JOB_NAME, timestamp: Date.parse(job.addedAt), attemptsMade: job.attempts },
    ...(processedOn !== undefined && { processedOn }),
    ...(ended !== undefined && { finishedOn: ended }),
    ...(job.worker !== undefined && { processedBy: job.worker }),
    ...{ delay: delayMs, priority, attemptsStarted: starts, stalledCounter: job.lostWorkers },
    progress: upload === undefined ? 0 : Math.floor((100 * upload.partsWritten) / Math.max(upload.parts, 1)),
    failedReason: failure?.reason ?? "",
    stacktrace: null,
    data: Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)),
    returnvalue: result ?? null,
    opts: {},
  }
}
