import { startAdminServer } from "@unseal/service/admin"
import { createRegistry } from "@unseal/service/metrics"
import { runProcess } from "@unseal/service/process"
import { connectRedis } from "@unseal/service/redis"
import { readConfig } from "./config.ts"
import { createWorker } from "./worker.ts"

await runProcess("worker", async ({ logger }) => {
  const config = readConfig()
  const { settings } = config
  logger.level = settings.LOG_LEVEL
  const registry = createRegistry()
  const redis = connectRedis(settings.REDIS_URL, "consumer", logger)
  const worker = createWorker({ config, redis, registry, logger })
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
      await worker.close()
      redis.disconnect()
      await admin.close()
    },
  }
})
