/**
 * The state of the queue and of its Redis, in the metrics of one process. It is the same for everybody, so every process could show
 * it; but then each scrape would ask Redis once for each process, and a sum over processes would be wrong.
 */
import { withDeadline } from "@unseal/archive/waiting"
import { createObserverLease, type ObserverLeaseOptions } from "@unseal/queue/observer/lease"
import { type QueueState, readQueueState } from "@unseal/queue/observer/queue-state"
import { readServerState, type ServerState } from "@unseal/queue/observer/server-state"
import { createGauge, type Registry, sharedByOneScrape } from "@unseal/service/metrics"
import { createQueueMetrics, type ProjectIds } from "./queue-metrics.ts"
import { createServerMetrics } from "./server-metrics.ts"

export interface ObserverOptions extends ObserverLeaseOptions {
  readonly registry: Registry
  readonly projects: ProjectIds
  /** Replaces the reading of the queue, for tests of trouble. */
  readonly readQueue?: () => Promise<QueueState>
}

export interface Observer {
  /** Lets another process observe. */
  close(): Promise<void>
}

/** A scrape waits no longer than this for Redis. */
const DEADLINE_MS = 1_000

/**
 * Contends for the observer's lease, and shows the queue's state while it holds that. What Redis does not give within a second is
 * absent from the scrape. A holder that can't read the queue lets others try.
 */
export function createObserver(options: ObserverOptions): Observer {
  const { registry, projects, connection, queue } = options
  const readQueue = options.readQueue ?? (() => readQueueState(connection, queue))
  const lease = createObserverLease(options)
  const isHeld = sharedByOneScrape(() => lease.scraped())
  describeObserver(registry, projects, {
    queue: sharedByOneScrape(async () => {
      if (!(await isHeld())) return null
      const state = await inTime(readQueue())
      if (state === null) lease.standBack()
      return lease.isHeld ? state : null
    }),
    // A user who may not call INFO observes the queue all the same.
    server: sharedByOneScrape(async () =>
      (await isHeld()) ? inTime(readServerState(connection, queue)) : null,
    ),
  })
  return { close: () => lease.close() }
}

/** What the metrics show, asked for at each scrape. */
export interface Observed {
  queue(): Promise<QueueState | null>
  server(): Promise<ServerState | null>
}

/** Creates the metrics alone. */
export function describeObserver(registry: Registry, projects: ProjectIds, observed: Observed): void {
  createGauge(registry, {
    name: "unseal_queue_observer",
    help: "1 on the one process that shows the state of the queue and of Redis. During a hand-over it may be none, or two",
    labels: {},
    overReplicas: "sum",
    collect: async (set) => set({}, Number((await observed.queue()) !== null)),
  })
  createQueueMetrics(registry, projects, observed.queue)
  createServerMetrics(registry, observed.server)
}

const inTime = <T>(work: Promise<T>): Promise<T | null> =>
  withDeadline(work, DEADLINE_MS, () => new Error("timeout")).catch(() => null)
