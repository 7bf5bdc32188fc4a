import type { CutReason } from "@unseal/service/http/limited-server"
import { type Logger, rateLimited } from "@unseal/service/log/logger"
import { createCounter, createGauge, createHistogram, type Registry, UNKNOWN } from "@unseal/service/metrics"
import type { IngestProject, Projects } from "@unseal/service/projects/projects"
import { PROBLEMS, type ProblemKind } from "./problem.ts"

/** How a callback ended. `aborted`: the sender left before the answer. */
export type Outcome = "enqueued" | "duplicate" | "ignored" | "aborted" | ProblemKind

const OUTCOMES: readonly Outcome[] = [
  ...(["enqueued", "duplicate", "ignored", "aborted"] as const),
  ...(Object.keys(PROBLEMS) as ProblemKind[]).filter(
    (name) => !["not-found", "method-not-allowed"].includes(name),
  ),
]

/** The usual causes, as a hint for readers of the log. */
const HINTS: Readonly<Record<string, string>> = {
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED:
    "the signature was made with another secret: the project needs the signature secret of the dashboard's secure callbacks, not the API secret",
  "unknown project":
    "no project with the id of the callback's URL is configured: compare the URL in the dashboard with UNSEAL_PROJECT_ID or the projects file",
  unsigned: "switch secure callbacks on in the dashboard, or set UNSEAL_CALLBACK_AUTH",
  "token where a signature is needed":
    "the callback's URL has a segment after the project's id, which only UNSEAL_CALLBACK_AUTH=token has",
}

/** Lines per second for each kind of refusal, so that a flood, or a Redis outage, does not flood the log. */
export const REFUSED_LINES_PER_SECOND = 1

export interface Settled {
  /** As in the route. Shown only if the project exists. */
  readonly projectId: string
  readonly outcome: Outcome
  /** Seconds. */
  readonly duration: number
  readonly archiveId?: string | undefined
  readonly jobId?: string | undefined
  readonly status?: string | undefined
  /** For a duplicate: the state of the archive's job, and since when (ISO 8601). */
  readonly of?: "committed" | "dead" | "live" | undefined
  readonly since?: string | undefined
  /** One of a closed set, because lines are limited for each reason. */
  readonly reason?: string | undefined
  readonly finding?: string | undefined
  /** The address of the sender. */
  readonly peer?: string | undefined
  readonly errors?: readonly { pointer: string; detail: string }[] | undefined
  /** Of the callback's trace, if it has one. */
  readonly traceId?: string
  /** The same trace, if it is exported. It is not logged. */
  readonly exportedId?: string
  readonly err?: unknown
}

/** Whether the outcome is possible for the project. Series of impossible ones would only be noise. */
function isPossible(project: IngestProject | undefined, outcome: Outcome): boolean {
  if (project === undefined)
    return !["enqueued", "duplicate", "ignored", "unsigned", "clock"].includes(outcome)
  return project.callbackAuth === "signed" || !["unsigned", "clock"].includes(outcome)
}

const CUT_REASONS: readonly CutReason[] = ["network", "address", "full", "idle", "slow", "malformed"]

/** Counts and logs connections that were cut before their request was answered. */
export function createCutRecorder(
  registry: Registry,
  logger: Logger,
): (reason: CutReason, address: string | undefined) => void {
  const cuts = createCounter(registry, {
    name: "unseal_connections_cut_total",
    help: "Connections cut, by reason: from outside UNSEAL_CALLBACK_NETWORKS, too many from one address, too many in all, idle when room was needed, too slow with a request, or malformed",
    labels: { reason: CUT_REASONS },
  })
  const limited = rateLimited(logger, REFUSED_LINES_PER_SECOND)
  return (reason, peer) => {
    cuts.increase({ reason })
    limited("warn", reason, { reason, peer }, "connection cut")
  }
}

/** Shows how many connections of senders are open. */
export function createConnectionsGauge(registry: Registry, connections: () => number): void {
  createGauge(registry, {
    name: "unseal_connections",
    help: "Open connections of senders, idle ones included; at 2000 idle ones make way",
    labels: {},
    overReplicas: "sum",
    collect: (set) => set({}, connections()),
  })
}

/** Counts, times and logs how one callback ends: one line for each accepted one, a few for refused ones. */
export function createOutcomeRecorder(
  registry: Registry,
  logger: Logger,
  projects: Projects<IngestProject>,
): (settled: Settled) => void {
  const callbacks = createCounter(registry, {
    name: "unseal_callbacks_total",
    help: "Callbacks received, by project and outcome",
    labels: { project: () => projects.ids, outcome: OUTCOMES },
    possible: ({ project, outcome }) => isPossible(projects.get(project), outcome),
  })
  const seconds = createHistogram(registry, {
    name: "unseal_callback_seconds",
    help: "Time from the head of a callback to the end of its response",
    labels: { outcome: OUTCOMES },
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  })
  const limited = rateLimited(logger, REFUSED_LINES_PER_SECOND)
  return ({ projectId, duration, err, exportedId, ...rest }) => {
    const project = projects.get(projectId) ? projectId : UNKNOWN
    callbacks.increase({ project, outcome: rest.outcome })
    seconds.observe({ outcome: rest.outcome }, duration, exportedId)
    const line = { ...rest, projectId: project, duration, ...(err === undefined ? {} : { err }) }
    if (["enqueued", "duplicate", "ignored"].includes(rest.outcome)) logger.info(line, "callback")
    else {
      const hint = HINTS[rest.reason ?? ""]
      const kind = `${rest.outcome} ${rest.reason}`
      const [level, what] =
        rest.outcome === "failed"
          ? (["error", "callback failed"] as const)
          : (["warn", rest.outcome === "aborted" ? "callback aborted" : "callback refused"] as const)
      limited(level, kind, { ...line, ...(hint && { hint }) }, what)
    }
  }
}
