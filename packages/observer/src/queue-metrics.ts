import type { Accounts } from "@unseal/queue/accounting"
import { LANES } from "@unseal/queue/jobs/lane"
import type { QueueState } from "@unseal/queue/observer/queue-state"
import { FAILURES, type FailureCode, SUSPENDING_CODES } from "@unseal/queue/run/ending"
import { SIDES, type Suspension } from "@unseal/queue/suspension/state"
import { UPLOAD_KINDS } from "@unseal/queue/sweep-note"
import { createGauge, type Registry } from "@unseal/service/metrics"

const STATES = ["waiting", "active", "delayed", "suspended", "completed", "failed"] as const
const BACKLOG = { waiting: "waitingBytes", active: "activeBytes", delayed: "delayedBytes" } as const
const ACCOUNTS = ["accepted", "committed", "dead-letters", "live", "discarded"] as const
const FIELD_OF = {
  accepted: "accepted",
  committed: "committed",
  "dead-letters": "deadLetters",
  live: "live",
  discarded: "discarded",
} as const satisfies Record<(typeof ACCOUNTS)[number], keyof Accounts>
const CODES = Object.keys(FAILURES) as FailureCode[]

/** Projects, for the labels of their suspensions. */
export interface ProjectIds {
  readonly ids: readonly string[]
}

/** Shows at each scrape what `read` resolves to. While that is `null` there are no series. */
export function createQueueMetrics(
  registry: Registry,
  projects: ProjectIds,
  read: () => Promise<QueueState | null>,
): void {
  /** A gauge without labels. What `of` does not know is absent. */
  function gauge(name: string, help: string, of: (state: QueueState) => number | null): void {
    createGauge(registry, {
      ...{ name, help, labels: {}, overReplicas: "max" },
      async collect(set) {
        const state = await read()
        const value = state && of(state)
        if (value !== null) set({}, value)
      },
    })
  }

  createGauge(registry, {
    name: "unseal_queue_jobs",
    help: "Jobs by state. Waiting: those that could begin now. Delayed: those that wait for their next attempt or their object. Suspended: those whose project is suspended. Failed: the dead letters. Each job counts once",
    labels: { state: STATES },
    overReplicas: "max",
    async collect(set) {
      const state = await read()
      for (const name of STATES) if (state) set({ state: name }, state.jobs[name])
    },
  })
  gauge("unseal_queue_paused", "1 while the queue is paused: no job begins", ({ backlog }) =>
    Number(backlog.isPaused),
  )
  gauge(
    "unseal_queue_oldest_seconds",
    "Longest wait among the live jobs that could begin now; 0 if none waits. unseal_queue_lane_oldest_seconds has both lanes",
    ({ lanes }) => lanes.live.oldestWaitingSeconds,
  )
  const byLane = (name: string, help: string, of: (lane: QueueState["lanes"]["live"]) => number) =>
    createGauge(registry, {
      ...{ name, help, labels: { lane: LANES }, overReplicas: "max" },
      async collect(set) {
        const state = await read()
        for (const lane of LANES) if (state) set({ lane }, of(state.lanes[lane]))
      },
    })
  byLane(
    "unseal_queue_lane_jobs",
    "Jobs that could begin now, by lane: live callbacks, and bulk archives of earlier years",
    ({ waiting }) => waiting,
  )
  byLane(
    "unseal_queue_lane_oldest_seconds",
    "Longest wait among the jobs of a lane that could begin now; 0 if none waits",
    ({ oldestWaitingSeconds }) => oldestWaitingSeconds,
  )
  byLane(
    "unseal_queue_lane_bytes",
    "Announced bytes of the archives of a lane that could begin now",
    ({ waitingBytes }) => waitingBytes,
  )
  gauge(
    "unseal_queue_oldest_unfinished_seconds",
    "Age of the oldest live archive in the queue that is neither committed nor a dead letter, whatever it waits for; 0 if there is none",
    ({ oldestUnfinishedSeconds }) => oldestUnfinishedSeconds,
  )
  createGauge(registry, {
    name: "unseal_queue_backlog_bytes",
    help: "Announced bytes of the archives in the queue; delayed includes suspended ones. Waiting is 0 while the queue is paused; scale workers by max of waiting plus max of active, over replicas",
    labels: { state: ["waiting", "active", "delayed"] },
    overReplicas: "max",
    async collect(set) {
      const state = await read()
      if (!state) return
      for (const name of ["waiting", "active", "delayed"] as const) {
        const isHalted = name === "waiting" && state.backlog.isPaused
        set({ state: name }, isHalted ? 0 : state.backlog[BACKLOG[name]])
      }
    },
  })
  createGauge(registry, {
    name: "unseal_queue_accounts",
    help: "Archives accepted so far, and what they became: committed, dead letters, live, discarded",
    labels: { account: ACCOUNTS },
    overReplicas: "max",
    async collect(set) {
      const state = await read()
      for (const account of ACCOUNTS) if (state) set({ account }, state.accounts[FIELD_OF[account]])
    },
  })
  gauge(
    "unseal_queue_missing",
    "Accepted archives that are neither committed, dead letters, live nor discarded; 0 unless a job was removed or lost",
    ({ accounts }) => accounts.missing,
  )
  createGauge(registry, {
    name: "unseal_dead_letters",
    help: "Dead letters by code, counted among the newest 2000",
    labels: { code: CODES },
    overReplicas: "max",
    async collect(set) {
      const state = await read()
      for (const code of CODES) if (state) set({ code }, state.deadLetters.get(code) ?? 0)
    },
  })
  gauge(
    "unseal_dead_letters_oldest_seconds",
    "Time since the oldest dead letter was given up; 0 if there is none",
    ({ oldestDeadLetterSeconds }) => oldestDeadLetterSeconds,
  )
  createSuspensionMetrics(registry, projects, async () => (await read())?.suspensions ?? [])
  createGauge(registry, {
    name: "unseal_last_callback_seconds",
    help: "Time since a callback last enqueued an archive or found it in the queue; absent before the first",
    labels: {},
    overReplicas: "min",
    async collect(set) {
      const seconds = (await read())?.lastCallbackSeconds ?? null
      if (seconds !== null) set({}, seconds)
    },
  })
  createGauge(registry, {
    name: "unseal_uploads_open",
    help: "Uploads at the destinations that the janitor's last sweep of all stores left open: owned by a job, too young to judge, orphans (of a dry run), or foreign to Unseal; absent before the first sweep",
    labels: { kind: UPLOAD_KINDS },
    overReplicas: "max",
    async collect(set) {
      const sweep = (await read())?.sweep
      for (const kind of UPLOAD_KINDS) if (sweep) set({ kind }, sweep.uploads[kind])
    },
  })
  gauge(
    "unseal_uploads_swept_seconds",
    "Time since the janitor last swept all stores; absent before the first sweep",
    ({ sweep }) => sweep?.seconds ?? null,
  )
}

/** A project's code changes while it is suspended, so codes are labels. A suspension that is over has no series. */
function createSuspensionMetrics(
  registry: Registry,
  projects: ProjectIds,
  list: () => Promise<readonly Suspension[]>,
): void {
  const labels = { project: () => projects.ids, side: SIDES, code: SUSPENDING_CODES as readonly string[] }
  const gauge = (
    name: string,
    help: string,
    overProjects: "sum" | "max",
    of: (suspension: Suspension) => number,
  ) =>
    createGauge(registry, {
      ...{ name, help, labels, overReplicas: "max", overProjects },
      async collect(set) {
        for (const suspension of await list()) {
          const { projectId: project, side, code } = suspension
          set({ project, side, code }, of(suspension))
        }
      },
    })
  gauge(
    "unseal_suspended",
    "1 while archives of the project wait for the deployment's trouble to end; without the label project, the number of projects",
    "sum",
    () => 1,
  )
  gauge(
    "unseal_suspended_seconds",
    "How long the project has been suspended; without the label project, the longest",
    "max",
    ({ seconds }) => seconds,
  )
  gauge(
    "unseal_suspended_archives",
    "Archives that the suspension holds; without the label project, of all projects",
    "sum",
    ({ held }) => held,
  )
}
