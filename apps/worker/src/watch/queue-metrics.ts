import { withDeadline } from "@unseal/archive/waiting"
import type { Accounts } from "@unseal/queue/accounting"
import type { Backlog } from "@unseal/queue/backlog"
import type { DeadLetters } from "@unseal/queue/dead-letters/dead-letters"
import type { ServerMemory } from "@unseal/queue/redis/server"
import { FAILURES, type FailureCode, SUSPENDING_CODES } from "@unseal/queue/run/ending"
import type { QueueStatus } from "@unseal/queue/status"
import { SIDES, type Suspension } from "@unseal/queue/suspension/state"
import { createGauge, type Registry, sharedByOneScrape } from "@unseal/service/metrics"

/** A scrape waits no longer than this for Redis. */
const DEADLINE_MS = 1_000
const STATES = ["waiting", "active", "delayed", "completed", "failed"] as const
const BACKLOG_STATES = ["waiting", "active", "delayed"] as const
const ACCOUNTS = ["accepted", "committed", "dead-letters", "live", "discarded"] as const
const FIELD_OF = {
  accepted: "accepted",
  committed: "committed",
  "dead-letters": "deadLetters",
  live: "live",
  discarded: "discarded",
} as const satisfies Record<(typeof ACCOUNTS)[number], keyof Accounts>
const CODES = Object.keys(FAILURES) as FailureCode[]

/**
 * The state of the queue at each scrape. It is the whole queue's, not this worker's: every worker shows the same, so `max` over
 * workers is right and a sum is not. What Redis does not report in time is NaN.
 */
export function createQueueMetrics(
  registry: Registry,
  queue: {
    status(): Promise<QueueStatus>
    backlog(): Promise<Backlog>
    memory(): Promise<ServerMemory>
    deadLetters: Pick<DeadLetters, "count">
  },
): void {
  const status = sharedByOneScrape(() => inTime(queue.status()))

  createGauge(registry, {
    name: "unseal_queue_jobs",
    help: "Jobs by state; waiting counts all jobs that could begin now, failed counts the dead letters",
    labels: { state: STATES },
    overReplicas: "max",
    async collect(set) {
      const jobs = (await status())?.jobs
      for (const state of STATES) set({ state }, jobs?.[state] ?? Number.NaN)
    },
  })
  createGauge(registry, {
    name: "unseal_queue_oldest_seconds",
    help: "Longest wait among the jobs that are next in line",
    labels: {},
    overReplicas: "max",
    collect: async (set) => set({}, (await status())?.oldestWaitingSeconds ?? Number.NaN),
  })
  createGauge(registry, {
    name: "unseal_queue_backlog_bytes",
    help: "Announced bytes of the archives in the queue. Waiting is 0 while the queue is paused; scale workers by max of waiting plus max of active, over replicas",
    labels: { state: BACKLOG_STATES },
    overReplicas: "max",
    async collect(set) {
      const backlog = await inTime(queue.backlog())
      set({ state: "waiting" }, backlog?.isPaused ? 0 : (backlog?.waitingBytes ?? Number.NaN))
      set({ state: "active" }, backlog?.activeBytes ?? Number.NaN)
      set({ state: "delayed" }, backlog?.delayedBytes ?? Number.NaN)
    },
  })
  createGauge(registry, {
    name: "unseal_queue_bytes",
    help: "Memory that Redis uses, for the queue and everything else it holds",
    labels: {},
    overReplicas: "max",
    collect: async (set) => set({}, (await inTime(queue.memory()))?.usedBytes ?? Number.NaN),
  })
  createGauge(registry, {
    name: "unseal_dead_letters",
    help: "Dead letters by code, counted among the newest 2000",
    labels: { code: CODES },
    overReplicas: "max",
    async collect(set) {
      const counts = await inTime(queue.deadLetters.count())
      for (const code of CODES) set({ code }, counts ? (counts.byCode.get(code) ?? 0) : Number.NaN)
    },
  })
}

/** The equation of accounting.ts, with its numbers and what is missing between them. */
export function createAccountMetrics(registry: Registry, readAccounts: () => Promise<Accounts>): void {
  const accounts = sharedByOneScrape(() => inTime(readAccounts()))
  createGauge(registry, {
    name: "unseal_queue_accounts",
    help: "Archives accepted so far, and what they became: committed, dead letters, live, discarded",
    labels: { account: ACCOUNTS },
    overReplicas: "max",
    async collect(set) {
      const now = await accounts()
      for (const account of ACCOUNTS) set({ account }, now?.[FIELD_OF[account]] ?? Number.NaN)
    },
  })
  createGauge(registry, {
    name: "unseal_queue_missing",
    help: "Accepted archives that are neither committed, dead letters, live nor discarded; 0 unless a job was removed or lost",
    labels: {},
    overReplicas: "max",
    collect: async (set) => set({}, (await accounts())?.missing ?? Number.NaN),
  })
}

const inTime = <T>(work: Promise<T>): Promise<T | null> =>
  withDeadline(work, DEADLINE_MS, () => new Error("timeout")).catch(() => null)

/**
 * The queue's suspensions, not this worker's, at each scrape. A project's code changes while it is suspended, so codes are labels
 * and not values. A suspension that is over has no series.
 */
export function createSuspensionMetrics(
  registry: Registry,
  projects: { readonly ids: readonly string[] },
  list: () => Promise<readonly Suspension[]>,
): void {
  const suspensions = sharedByOneScrape(() => inTime(list()))
  const labels = { project: () => projects.ids, side: SIDES, code: SUSPENDING_CODES as readonly string[] }
  createGauge(registry, {
    name: "unseal_suspended",
    help: "1 while archives of the project wait for the deployment's trouble to end; the same in every worker: use max, not sum",
    labels,
    overReplicas: "max",
    async collect(set) {
      for (const { projectId, side, code } of (await suspensions()) ?? [])
        set({ project: projectId, side, code }, 1)
    },
  })
  createGauge(registry, {
    name: "unseal_suspended_seconds",
    help: "How long the project has been suspended; the same in every worker: use max, not sum",
    labels,
    overReplicas: "max",
    async collect(set) {
      for (const { projectId, side, code, seconds } of (await suspensions()) ?? [])
        set({ project: projectId, side, code }, seconds)
    },
  })
}
