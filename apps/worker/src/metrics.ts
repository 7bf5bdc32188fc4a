import type { ByteBudget } from "@unseal/archive/decrypt/budget"
import { RETRIED_KEY_CODES } from "@unseal/archive/keys/retry"
import { RETRIED_REQUEST_CODES } from "@unseal/archive/store/requests/retry"
import type { Consumer } from "@unseal/queue/run/consumer"
import { FAILURES, type FailureCode, RETRIED_JOB_CODES } from "@unseal/queue/run/ending"
import { SIDES } from "@unseal/queue/suspension/state"
import { createCounter, createGauge, createHistogram, type Registry, UNKNOWN } from "@unseal/service/metrics"
import type { Projects, WorkerProject } from "@unseal/service/projects/projects"
import type { ProjectResources } from "./run/project-resources.ts"

/** How a run ended for good, or without a verdict. A run whose job is tried again counts in `unseal_retries_total`. */
export const OUTCOMES = [
  ...(["committed", "already-committed", "empty"] as const),
  ...(["dead-letter", "handed-back", "lock-lost"] as const),
] as const
export type Outcome = (typeof OUTCOMES)[number]

/** How an archive's size compares with what its callback announced. */
export const ANNOUNCED_SIZES = ["fits", "differs", "absent"] as const

const STAGES = ["read", "decrypt", "write"] as const
const FAILURE_CODES = Object.keys(FAILURES) as FailureCode[]

const REQUEST_CODES: readonly FailureCode[] = [...RETRIED_REQUEST_CODES, ...RETRIED_KEY_CODES]

/** Whether a run can end in this way: only a dead letter has a code, and a job without a project can only be malformed. */
function canEnd(project: string, outcome: Outcome, code: FailureCode | "none"): boolean {
  if ((outcome === "dead-letter") === (code === "none")) return false
  return project !== UNKNOWN || code === "ERR_JOB_INVALID"
}

/** Seconds to a day. Objectives are among them: a minute, five, fifteen, an hour. */
const WAITS = [1, 5, 10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400]

/** What the worker counts and times while it works. */
export type WorkerMetrics = ReturnType<typeof createWorkerMetrics>

export function createWorkerMetrics(
  registry: Registry,
  projects: Pick<Projects<WorkerProject>, "ids">,
  budget: Pick<ByteBudget, "holders">,
) {
  const archives = createCounter(registry, {
    name: "unseal_archives_total",
    help: "Runs that ended since this process started, by project and outcome, with the code of a dead letter; unseal_queue_accounts shows what all accepted archives became",
    labels: { project: () => projects.ids, outcome: OUTCOMES, code: ["none", ...FAILURE_CODES] },
    possible: ({ project, outcome, code }) => canEnd(project, outcome, code),
  })
  const seconds = createHistogram(registry, {
    name: "unseal_archive_seconds",
    help: "Time from the start to the end of the run that committed an archive",
    labels: {},
    buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600],
  })
  const endToEnd = createHistogram(registry, {
    name: "unseal_archive_end_to_end_seconds",
    help: "Time from the arrival of a live archive's callback to its commit, or until it became a dead letter; all waits are included, and so is the time as a dead letter before a redrive",
    labels: { outcome: ["committed", "empty", "dead-letter"] },
    buckets: WAITS,
  })
  const queueWait = createHistogram(registry, {
    name: "unseal_queue_wait_seconds",
    help: "Time from the arrival of a live archive's callback to its first start; archives that were held before that start do not count",
    labels: {},
    buckets: WAITS,
  })
  const partSeconds = createHistogram(registry, {
    name: "unseal_part_seconds",
    help: "Time that one part took in one stage",
    labels: { stage: STAGES },
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  })
  const bytes = createCounter(registry, {
    name: "unseal_bytes_total",
    help: "Ciphertext read from sources and plaintext written to destinations",
    labels: { direction: ["read", "written"] },
  })
  const retries = createCounter(registry, {
    name: "unseal_retries_total",
    help: "Retries of a request to a store, or of a whole job",
    labels: { layer: ["request", "job"], code: FAILURE_CODES },
    possible: ({ layer, code }) => (layer === "request" ? REQUEST_CODES : RETRIED_JOB_CODES).includes(code),
  })
  const tails = createCounter(registry, {
    name: "unseal_tail_total",
    help: "Committed archives, by what follows their last whole packet",
    labels: { form: ["pkcs7", "unpadded", "irregular"] },
  })
  const announcedSizes = createCounter(registry, {
    name: "unseal_announced_size_total",
    help: "Archives that were committed, or given up because of their size, by whether the size is the announced one",
    labels: { outcome: ANNOUNCED_SIZES },
  })
  const stuck = createCounter(registry, {
    name: "unseal_runs_stuck_total",
    help: "Runs that were aborted because nothing moved for minutes; the log says what they waited for",
    labels: {},
  })
  const stalled = createCounter(registry, {
    name: "unseal_stalled_total",
    help: "Jobs that this worker found abandoned, because their worker had died or was frozen",
    labels: {},
  })
  createGauge(registry, {
    name: "unseal_parts_in_flight",
    help: "Parts in memory now",
    labels: {},
    overReplicas: "sum",
    collect: (set) => set({}, budget.holders),
  })

  return {
    /** Shows the limits of stores that refused requests for their rate. */
    watchRequestLimits(limits: ProjectResources["requestLimits"]) {
      createGauge(registry, {
        name: "unseal_store_requests_limit",
        help: "Limit on requests in flight to a store that refuses more (503 SlowDown, 429); absent without a limit. Without the label project, the smallest",
        labels: { project: () => projects.ids, side: ["source", "destination"] },
        overReplicas: "sum",
        overProjects: "min",
        collect(set) {
          for (const { projectId, side, limit } of limits()) set({ project: projectId, side }, limit)
        },
      })
    },
    /** Shows from which projects this worker stands aside. */
    watchAsides(asides: Consumer["asides"]) {
      createGauge(registry, {
        name: "unseal_worker_aside",
        help: "1 while this worker takes no archive of the project, since it fails on that side where other workers succeed",
        labels: { project: () => projects.ids, side: SIDES },
        overReplicas: "sum",
        collect(set) {
          for (const { projectId, side } of asides()) set({ project: projectId, side }, 1)
        },
      })
    },
    ended: (project: string, outcome: Outcome, code: FailureCode | "none") =>
      archives.increase({ project, outcome, code }),
    /** `traceId` here and below: of the run, if its trace is exported. */
    committed(durationSeconds: number, tail: "pkcs7" | "unpadded" | "irregular", traceId?: string) {
      seconds.observe({}, durationSeconds, traceId)
      tails.increase({ form: tail })
    },
    announcedSize: (outcome: (typeof ANNOUNCED_SIZES)[number]) => announcedSizes.increase({ outcome }),
    /** `seconds` since the callback arrived. */
    endedAfter: (outcome: "committed" | "empty" | "dead-letter", seconds: number, traceId?: string) =>
      endToEnd.observe({ outcome }, seconds, traceId),
    /** `seconds` since the callback arrived. */
    startedAfter: (seconds: number, traceId?: string) => queueWait.observe({}, seconds, traceId),
    stuck: () => stuck.increase({}),
    stalled: () => stalled.increase({}),
    retried: (layer: "request" | "job", code: FailureCode) => retries.increase({ layer, code }),
    part(stage: (typeof STAGES)[number], durationSeconds: number, size: number, traceId?: string) {
      partSeconds.observe({ stage }, durationSeconds, traceId)
      if (stage === "read") bytes.increase({ direction: "read" }, size)
      if (stage === "write") bytes.increase({ direction: "written" }, size)
    },
  }
}
