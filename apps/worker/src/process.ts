import "@unseal/service/v8-flags"
import { durabilityProblems } from "@unseal/queue/redis/server"
import { startAdminServer } from "@unseal/service/admin"
import type { Logger } from "@unseal/service/log/logger"
import { createRegistry } from "@unseal/service/metrics"
import { runProcess } from "@unseal/service/process"
import { watchDurability } from "@unseal/service/redis/durability"
import { reachRedis } from "@unseal/service/redis/reach"
import { connectRedis } from "@unseal/service/redis/redis"
import { startTracing } from "@unseal/service/tracing/tracing"
import { useProxies } from "@unseal/vendor/proxy"
import { readConfig } from "./config.ts"
import type { RunDecorator } from "./run/run-decorator.ts"
import { createWorker, type WorkerOptions } from "./worker.ts"

/** Options for mains other than the product's own. */
export interface WorkerVariant extends Pick<WorkerOptions, "consumer" | "feeding" | "stores"> {
  decorators?(logger: Logger): readonly RunDecorator[]
  /** `false`: a signal ends the process at once, without handing back its jobs. */
  readonly handsBack?: boolean
}

/** The worker's process, from its settings to its end (`runProcess`). */
export const runWorker = ({
  decorators,
  handsBack = true,
  consumer,
  feeding,
  stores,
}: WorkerVariant = {}): Promise<void> =>
  runProcess("worker", async ({ logger, configureLog, fail }) => {
    const config = readConfig()
    const { settings } = config
    useProxies(config.env)
    configureLog(settings)
    const registry = createRegistry({ projectLabel: settings.UNSEAL_METRICS_PROJECT_LABEL })
    const tracing = await startTracing("worker", config.env, logger)
    await reachRedis(settings)
    const redis = connectRedis(settings, "consumer", logger)
    watchDurability({
      ...{ redis, logger, policy: settings.UNSEAL_REDIS_DURABILITY, problems: durabilityProblems },
      refuse: (error) => fail(error, "redis may lose jobs"),
    })
    const watch = config.projects.watch({ logger, registry })
    config.vendors.onInvalid((err) =>
      logger.error({ err }, "credentials for the vendor's API could not be read: they stay as they were"),
    )
    // A taken port ends the process before it has a job in hand: nothing is awaited between the two.
    let worker: ReturnType<typeof createWorker>
    const admin = await startAdminServer({
      port: settings.UNSEAL_ADMIN_PORT,
      host: settings.UNSEAL_HOST,
      registry,
      logger,
      ready: () => worker.ready(),
      live: () => worker.live(),
    })
    worker = createWorker({
      ...{ config, redis, registry, logger, tracing },
      ...(decorators && { decorators: decorators(logger) }),
      ...(consumer && { consumer }),
      ...(feeding && { feeding }),
      ...(stores && { stores }),
    })
    return {
      ports: { admin: admin.port },
      async stop() {
        if (!handsBack) return
        await watch.close()
        await worker.close()
        redis.disconnect()
        await admin.close()
        await tracing?.close()
      },
    }
  })
