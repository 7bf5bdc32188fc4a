/** The metrics of processes for which everything has happened that can happen to each of their projects. */
import { randomUUID } from "node:crypto"
import { REQUEST_OUTCOMES } from "@unseal/archive/request-outcome"
import { STORE_OPERATIONS } from "@unseal/archive/store/observed"
import { describeObserver } from "@unseal/observer/observer"
import type { QueueState } from "@unseal/queue/observer/queue-state"
import { FAILURES, type FailureCode, SUSPENDING_CODES } from "@unseal/queue/run/ending"
import { SIDES, type Suspension } from "@unseal/queue/suspension/state"
import { createLogger } from "@unseal/service/log/logger"
import { createRegistry, type Registry } from "@unseal/service/metrics"
import { createOutcomeRecorder } from "../../apps/ingest/src/outcome.ts"
import { PROBLEMS } from "../../apps/ingest/src/problem.ts"
import { createKeyMetrics } from "../../apps/worker/src/keys/metrics.ts"
import { createWorkerMetrics, OUTCOMES } from "../../apps/worker/src/metrics.ts"
import { createRequestMetrics } from "../../apps/worker/src/watch/request-metrics.ts"

export interface CrowdOptions {
  readonly projects: number
  readonly projectLabel: boolean
}

const LANE = { waiting: 0, waitingBytes: 0, oldestWaitingSeconds: 0 }
const EMPTY: QueueState = {
  jobs: { waiting: 0, active: 0, delayed: 0, suspended: 0, completed: 0, failed: 0 },
  lanes: { live: LANE, bulk: LANE },
  ...{ oldestUnfinishedSeconds: 0, oldestDeadLetterSeconds: 0 },
  backlog: { waitingBytes: 0, waitingBulkBytes: 0, activeBytes: 0, delayedBytes: 0, isPaused: false },
  accounts: { accepted: 0, committed: 0, deadLetters: 0, live: 0, discarded: 0, missing: 0 },
  ...{ deadLetters: new Map(), suspensions: [], lastCallbackSeconds: null, sweep: null },
}

/** The registries of an ingest, and of a worker that observes the queue as well. */
export function crowdedRegistries({
  projects: count,
  projectLabel,
}: CrowdOptions): Record<"ingest" | "worker", Registry> {
  // Applications of the unified platform have the longest ids.
  const ids = Array.from({ length: count }, () => randomUUID())
  return { ingest: crowdedIngest(ids, projectLabel), worker: crowdedWorker(ids, projectLabel) }
}

function crowdedIngest(ids: readonly string[], projectLabel: boolean): Registry {
  const registry = createRegistry({ projectLabel })
  const known = new Map(
    ids.map((id) => [id, { id, callbackAuth: "signed", signatureSecrets: ["0123456789abcdef"] } as const]),
  )
  const record = createOutcomeRecorder(registry, createLogger("crowd", "silent"), {
    ids,
    get: (id) => known.get(id),
  })
  const outcomes = ["enqueued", "duplicate", "ignored", "aborted", ...Object.keys(PROBLEMS)] as const
  for (const projectId of ids)
    for (const outcome of outcomes) record({ projectId, outcome: outcome as "enqueued", duration: 0.01 })
  return registry
}

function crowdedWorker(ids: readonly string[], projectLabel: boolean): Registry {
  const registry = createRegistry({ projectLabel })
  const projects = { ids }
  const metrics = createWorkerMetrics(registry, projects, { holders: 8 })
  for (const id of ids) {
    for (const outcome of OUTCOMES) if (outcome !== "dead-letter") metrics.ended(id, outcome, "none")
    for (const code of Object.keys(FAILURES)) metrics.ended(id, "dead-letter", code as FailureCode)
  }
  const onSides = <Side extends string>(sides: readonly Side[]) =>
    ids.flatMap((projectId) => sides.map((side) => ({ projectId, side })))
  metrics.watchRequestLimits(() =>
    onSides(["source", "destination"] as const).map((one) => ({ ...one, limit: 2 })),
  )
  metrics.watchAsides(() => onSides(SIDES).map((one) => ({ ...one, code: "ERR_STORE_DENIED" as const })))
  const requests = createRequestMetrics(registry)
  for (const operation of STORE_OPERATIONS)
    for (const outcome of REQUEST_OUTCOMES)
      for (const side of ["source", "destination", "vendor"] as const)
        requests.store(side, { operation, outcome, seconds: 0.123 })
  const suspensions = onSides(SIDES).map(
    (one, index): Suspension => ({
      ...{ ...one, code: SUSPENDING_CODES[index % SUSPENDING_CODES.length]!, seconds: 12.345, held: 1 },
      ...{ reason: "", remedy: "", since: "", nextProbeAt: null, probes: 1 },
    }),
  )
  describeObserver(registry, projects, {
    queue: async () => ({ ...EMPTY, suspensions }),
    server: async () => null,
  })
  const keyRings = ids.map((id) => {
    const certificates = Array.from({ length: 2 }, () => ({
      keyId: `${randomUUID()}${randomUUID()}`.replaceAll("-", ""),
      notAfter: new Date(Date.now() + 1e9),
    }))
    return { projectIds: [id], keyRing: { certificates: () => certificates, problems: () => [] } as never }
  })
  createKeyMetrics(registry, projects, { keys: async () => keyRings })
  return registry
}
