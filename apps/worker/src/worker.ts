import { counted } from "@unseal/archive/counted"
import { createByteBudget } from "@unseal/archive/decrypt/budget"
import { createConnectionMetrics } from "@unseal/observer/connection-metrics"
import { createObserver } from "@unseal/observer/observer"
import { archiveIn } from "@unseal/queue/jobs/job"
import type { RedisClient } from "@unseal/queue/redis/client"
import { type RedisHealth, watchRedis } from "@unseal/queue/redis/health"
import { type Consumer, type ConsumerOptions, createConsumer } from "@unseal/queue/run/consumer"
import type { FailureCode } from "@unseal/queue/run/ending"
import type { Logger } from "@unseal/service/log/logger"
import type { Registry } from "@unseal/service/metrics"
import type { Tracing } from "@unseal/service/tracing/contract"
import { createFeeding, type WorkerFeedingOptions } from "./backfill/feeding.ts"
import type { Config } from "./config.ts"
import { createKeyMetrics } from "./keys/metrics.ts"
import { createWorkerMetrics } from "./metrics.ts"
import { createFallback } from "./run/fallback.ts"
import type { JobResult } from "./run/job-result.ts"
import { openProjectResources, type ProjectResourcesOptions } from "./run/project-resources.ts"
import { createReport } from "./run/report.ts"
import type { RunDecorator } from "./run/run-decorator.ts"
import { createJobRunner } from "./run/run-job.ts"
import { createRunTraces } from "./trace/runs.ts"
import { createRequestMetrics } from "./watch/request-metrics.ts"
import { createSaturationMetrics } from "./watch/saturation-metrics.ts"
import { createStoreNotices } from "./watch/store-notices.ts"
import { surveyProjects } from "./watch/survey.ts"

/** Without any progress for this many times the lock's length, the process is stuck: every lock is lost after one. */
const STUCK_LOCKS = 5
/** The minimum, so that the consumer has time to notice that its connections are dead, and to reconnect. */
const STUCK_MS = 60_000

export interface Worker {
  /**
   * Why the process can't work now, each a clause. Problems of one project don't count: that project is suspended, and a process
   * that serves many must not be taken out of service for one.
   */
  ready(): Promise<readonly string[]>
  /** Why it should be restarted, or `null`. */
  live(): string | null
  close(): Promise<void>
}

export interface WorkerOptions {
  readonly config: Config
  /** Made by `connectRedis`. The worker does not close it. */
  readonly redis: RedisClient
  readonly registry: Registry
  readonly logger: Logger
  /** The worker does not close it. */
  readonly tracing?: Tracing | undefined
  /** Wrapped around each run, the first one innermost. */
  readonly decorators?: readonly RunDecorator[]
  /** Overrides defaults of the consumer. */
  readonly consumer?: Pick<ConsumerOptions<JobResult>, "watchdog" | "lockRenewal" | "asides" | "suspension">
  /** Overrides defaults of feeding backfills. */
  readonly feeding?: WorkerFeedingOptions["feeding"]
  /** Overrides defaults of the stores. */
  readonly stores?: ProjectResourcesOptions["stores"]
  /** Overrides defaults of the key rings. */
  readonly keyRings?: ProjectResourcesOptions["keyRings"]
}

/** Everything between the queue and the stores. It begins to work at once. */
export function createWorker(options: WorkerOptions): Worker {
  const { config, redis, registry, logger, decorators = [] } = options
  const { settings, projects } = config
  const queue = settings.UNSEAL_QUEUE
  const budget = createByteBudget(settings.UNSEAL_PARTS_IN_FLIGHT * settings.UNSEAL_PART_SIZE_BYTES, {
    bulkSharePercent: settings.UNSEAL_BULK_SHARE,
  })
  const metrics = createWorkerMetrics(registry, projects, budget)
  const observer = createObserver({ registry, projects, connection: redis, queue })
  const traces = createRunTraces(options.tracing, queue)
  const { onExchange } = traces
  const onRetry = (code: FailureCode) => metrics.retried("request", code)
  const requests = createRequestMetrics(registry)
  const projectResources = openProjectResources({
    config,
    budget,
    logger,
    onRetry,
    requests,
    notices: createStoreNotices(registry, logger),
    ...(onExchange && { onExchange }),
    stores: options.stores,
    keyRings: options.keyRings,
  })
  metrics.watchRequestLimits(projectResources.requestLimits)
  metrics.watchAsides(() => consumer.asides())
  createSaturationMetrics(registry, {
    concurrency: settings.UNSEAL_CONCURRENCY,
    budget,
    consumer: () => consumer,
  })
  const fallback = createFallback({ config, onRetry, requests, ...(onExchange && { onExchange }) })
  createKeyMetrics(registry, projects, projectResources)
  const report = createReport(metrics, logger, traces)
  const consumer = createConsumer({
    ...{ connection: redis, queue, logger },
    concurrency: settings.UNSEAL_CONCURRENCY,
    attempts: settings.UNSEAL_ATTEMPTS,
    suspendMaxMs: settings.UNSEAL_SUSPEND_MAX_MS,
    bulkShare: settings.UNSEAL_BULK_SHARE,
    lockMs: settings.UNSEAL_LOCK_MS,
    stallCheckMs: settings.UNSEAL_STALL_CHECK_MS,
    ...options.consumer,
    run: createJobRunner({ settings, projectResources, fallback, metrics, logger, decorators, traces }),
    observe: {
      ended(run) {
        report(run)
        traces.ended(run)
      },
      stuck(jobId, err) {
        metrics.stuck()
        logger.error(
          { jobId, ...archiveIn(jobId), code: "ERR_RUN_STUCK", err },
          "archive is stuck: its run is ended",
        )
      },
      stalled: metrics.stalled,
    },
  })

  const feeding = settings.UNSEAL_BACKFILL_FEED
    ? createFeeding({ config, redis, registry, logger, projectResources, feeding: options.feeding })
    : null

  const health = watchRedis({
    ...{ connection: redis, queue, logger },
    onLook: createConnectionMetrics(registry),
  })
  const limitMs = Math.max(STUCK_LOCKS * settings.UNSEAL_LOCK_MS, STUCK_MS)
  const live = () => whyStuck(consumer, health, limitMs)
  const closing = new AbortController()
  void surveyProjects({
    projectIds: projects.ids,
    projectResources,
    settings,
    logger,
    signal: closing.signal,
  })

  const watchdog = setInterval(() => {
    const reason = live()
    // Uncaught: the process ends with 1 and is restarted, and its jobs are found as stalled.
    if (reason !== null) throw new Error(reason)
  }, settings.UNSEAL_LOCK_MS)
  watchdog.unref()

  return {
    live,
    async ready() {
      return [...(await health.problems()), ...standsAside(consumer.asides(), projects.ids)]
    },
    async close() {
      clearInterval(watchdog)
      health.close()
      closing.abort()
      await Promise.all([consumer.close(), feeding?.close()])
      await Promise.all([projectResources.close(), observer.close()])
    },
  }
}

/** A clause if this worker stands aside from all its projects, so that it has nothing to do; else none. */
export function standsAside(
  asides: ReturnType<Consumer["asides"]>,
  projectIds: readonly string[],
): readonly string[] {
  const from = new Set(asides.map(({ projectId }) => projectId))
  const [first] = asides
  if (first === undefined || !projectIds.every((id) => from.has(id))) return []
  const example = `${first.projectId}, ${first.side}: ${first.code}`
  return [`stands aside from every project, since other workers succeed where it fails (${example})`]
}

/**
 * Why a worker is stuck: it makes no progress although, according to another connection of this process, Redis accepts work all
 * that time. Then the consumer's own connections are stuck. While Redis is away or refuses, the worker just waits, and a restart
 * would not help.
 */
export function whyStuck(
  { lastProgressAt, lastTrouble, active }: Pick<Consumer, "lastProgressAt" | "lastTrouble" | "active">,
  { okSince }: Pick<RedisHealth, "okSince">,
  limitMs: number,
  now: number = Date.now(),
): string | null {
  if (okSince === null) return null
  const idleMs = now - Math.max(lastProgressAt, okSince)
  if (idleMs <= limitMs) return null
  const last = lastTrouble === "" ? "" : `; the last error of its connections: ${lastTrouble}`
  return `no progress for ${idleMs} ms with ${counted(active, "job")} in hand, although redis takes work${last}`
}
