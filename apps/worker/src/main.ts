import "@unseal/service/small-heap"
import { durabilityProblems } from "@unseal/queue/server"
import { startAdminServer } from "@unseal/service/admin"
import { createRegistry } from "@unseal/service/metrics"
import { runProcess } from "@unseal/service/process"
import { connectRedis } from "@unseal/service/redis"
import { watchDurability } from "@unseal/service/redis-durability"
import { reachRedis } from "@unseal/service/redis-reach"
import { isOff } from "@unseal/service/test-settings"
import { useProxies } from "@unseal/vendor/proxy"
import { readConfig } from "./config.ts"
import { createWorker } from "./worker.ts"

await runProcess("worker", async ({ logger, fail }) => {
  const config = readConfig()
  const { settings, testing } = config
  useProxies(config.env)
  logger.level = settings.LOG_LEVEL
  if (testing) logger.warn(testing, "test settings are in effect")
  const rig = testing && (await import("./rig/rig.ts")).createRig(testing, logger)
  const registry = createRegistry()
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
  const worker = createWorker({ config, redis, registry, logger, ...(rig && { rig }) })
  const admin = await startAdminServer({
    port: settings.UNSEAL_ADMIN_PORT,
    host: settings.UNSEAL_HOST,
    registry,
    logger,
    ready: worker.ready,
    live: worker.live,
  })
  return {
    ports: { admin: admin.port },
    async stop() {
      if (isOff(testing, "hand-back")) return
      await watch.close()
      await worker.close()
      redis.disconnect()
      await admin.close()
    },
  }
})
