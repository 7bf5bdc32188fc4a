/** Feeds backfills within a worker, which has everything that feeding needs. */
import { UnsealError } from "@unseal/archive/errors"
import { NO_ARCHIVE } from "@unseal/archive/first-look"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import { clauseOf, type Feeding, startFeeding } from "@unseal/operations/backfill/feed/feeding"
import type { SidesOf } from "@unseal/operations/backfill/feed/looks"
import { createProducer } from "@unseal/queue/enqueue/producer"
import type { RedisClient } from "@unseal/queue/redis/client"
import { BULK_FULL_AT } from "@unseal/queue/redis/server"
import { type Logger, rateLimited } from "@unseal/service/log/logger"
import type { Registry } from "@unseal/service/metrics"
import type { Config } from "../config.ts"
import type { ProjectResources } from "../run/project-resources.ts"
import { createBackfillMetrics } from "./metrics.ts"

export interface WorkerFeedingOptions {
  readonly config: Pick<Config, "projects" | "settings">
  readonly redis: RedisClient
  readonly registry: Registry
  readonly logger: Logger
  readonly projectResources: Pick<ProjectResources, "sides">
  /** Overrides defaults of feeding. */
  readonly feeding?:
    | Partial<Pick<Parameters<typeof startFeeding>[0], "leaseMs" | "pauseMs" | "searchAfterMs" | "step">>
    | undefined
}

/** If enqueueing takes longer, a later turn repeats it. */
const ENQUEUE_DEADLINE_MS = 10_000
const HALTED_LINES_PER_SECOND = 1

export function createFeeding(options: WorkerFeedingOptions): Feeding {
  const { config, redis: connection, registry, logger, projectResources } = options
  const { projects, settings } = config
  const queue = settings.UNSEAL_QUEUE
  const metrics = createBackfillMetrics(registry)
  const producer = createProducer({
    ...{ connection, queue, logger, deadlineMs: ENQUEUE_DEADLINE_MS, fullAt: BULK_FULL_AT },
  })
  const log = rateLimited(logger, HALTED_LINES_PER_SECOND)
  const sidesOf: SidesOf = async (archive) => {
    const { source, destination, ...rest } = await projectResources.sides(archive)
    try {
      const of = `of project ${archive.projectId}`
      return { ...rest, source: openedOf(source, of), destination: openedOf(destination, of) }
    } catch (error) {
      rest.release()
      throw error
    }
  }
  const feeding = startFeeding({
    ...{ connection, queue, producer, sidesOf, window: settings.UNSEAL_BACKFILL_WINDOW },
    ...options.feeding,
    homes: () => {
      const seen = new Map(
        projects.ids.map((id) => [projects.get(id)?.destination, id] as const).toReversed(),
      )
      return [...seen.values()].toReversed()
    },
    async openHome(projectId) {
      const { destination, release } = await sidesOf({ projectId, archiveId: NO_ARCHIVE })
      return { store: destination, release }
    },
    observe: {
      turned: metrics.show,
      began: (id) => logger.info({ backfill: id }, "backfill is fed by this process"),
      ended: (id, { outcomes }) => logger.info({ backfill: id, outcomes }, "backfill has ended"),
      halted(id, error) {
        const reason = clauseOf(error)
        log(
          "warn",
          id ?? "all",
          { ...(id !== null && { backfill: id }), reason, err: error },
          "backfill does not go on",
        )
      },
    },
  })
  return {
    async close() {
      await feeding.close()
      await producer.close()
    },
  }
}

function openedOf(settled: PromiseSettledResult<ArchiveStore>, of: string): ArchiveStore {
  if (settled.status === "fulfilled") return settled.value
  if (settled.reason instanceof UnsealError) throw settled.reason
  throw new UnsealError("ERR_STORE_UNAVAILABLE", `a store ${of} can't be opened`, { cause: settled.reason })
}
