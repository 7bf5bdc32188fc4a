import type { AddressInfo } from "node:net"
import { createConnectionMetrics } from "@unseal/observer/connection-metrics"
import { createObserver } from "@unseal/observer/observer"
import { findDuplicateOf } from "@unseal/queue/enqueue/duplicate-of"
import { createProducer, type ProducerOptions } from "@unseal/queue/enqueue/producer"
import { watchRedis } from "@unseal/queue/redis/health"
import { durabilityProblems } from "@unseal/queue/redis/server"
import { listen, startAdminServer } from "@unseal/service/admin"
import { createLimitedServer } from "@unseal/service/http/limited-server"
import { createRegistry } from "@unseal/service/metrics"
import { runProcess } from "@unseal/service/process"
import { watchDurability } from "@unseal/service/redis/durability"
import { reachRedis } from "@unseal/service/redis/reach"
import { connectRedis } from "@unseal/service/redis/redis"
import { createSendTracer } from "@unseal/service/tracing/send"
import { startTracing } from "@unseal/service/tracing/tracing"
import { createApp } from "./app.ts"
import { MAX_BODY_BYTES } from "./body.ts"
import { env, readConfig } from "./config.ts"
import { createConnectionsGauge, createCutRecorder } from "./outcome.ts"

/** A callback is answered by then, if need be with 503. Legacy senders give up after four tries, so a late 202 is worth little. */
const ENQUEUE_DEADLINE_MS = 2_000

/** A duplicate is answered by then, with or without the state of its job. */
const DUPLICATE_DEADLINE_MS = 500

/** Options for mains other than the product's own. */
export type IngestVariant = Pick<ProducerOptions, "jobIdOf">

/** Ingest's process, from its settings to its end (`runProcess`). */
export const runIngest = (variant: IngestVariant = {}): Promise<void> =>
  runProcess("ingest", async ({ logger, configureLog, fail }) => {
    const config = readConfig()
    configureLog(config)
    const registry = createRegistry({ projectLabel: config.UNSEAL_METRICS_PROJECT_LABEL })
    const tracing = await startTracing("ingest", env, logger)
    await reachRedis(config)
    const redis = connectRedis(config, "producer", logger)
    const health = watchRedis({
      ...{ connection: redis, queue: config.UNSEAL_QUEUE, logger },
      onLook: createConnectionMetrics(registry),
    })
    const observer = createObserver({
      ...{ registry, projects: config.projects, connection: redis, queue: config.UNSEAL_QUEUE },
    })
    watchDurability({
      ...{ redis, logger, policy: config.UNSEAL_REDIS_DURABILITY, problems: durabilityProblems },
      refuse: (error) => fail(error, "redis may lose jobs"),
    })
    const watch = config.projects.watch({ logger, registry })
    const producer = createProducer({
      connection: redis,
      queue: config.UNSEAL_QUEUE,
      deadlineMs: ENQUEUE_DEADLINE_MS,
      replicas: config.UNSEAL_REDIS_REPLICAS,
      areCallbacks: true,
      ...(tracing && { trace: createSendTracer(tracing, config.UNSEAL_QUEUE) }),
      ...variant,
      logger,
    })

    const { UNSEAL_CALLBACK_NETWORKS: networks, UNSEAL_TRUSTED_PROXIES: proxies } = config
    let draining = false
    const app = createApp({
      projects: config.projects,
      producer,
      duplicateOf: (jobId) => findDuplicateOf(redis, config.UNSEAL_QUEUE, jobId, DUPLICATE_DEADLINE_MS),
      registry,
      logger,
      authentication: {
        maxAgeMs: config.UNSEAL_CALLBACK_MAX_AGE_MS,
        ...(networks && { networks }),
      },
      draining: () => draining,
      ...(proxies && { proxies }),
      tracing,
    })
    const { server, connections, drain } = createLimitedServer(app, {
      admits: (address) => networks?.has(address) !== false || proxies?.has(address) === true,
      isProxy: (address) => proxies?.has(address) === true,
      onCut: createCutRecorder(registry, logger),
      maxBodyBytes: MAX_BODY_BYTES,
    })
    createConnectionsGauge(registry, connections)
    await listen(server, config.UNSEAL_PORT, config.UNSEAL_HOST, "UNSEAL_PORT")
    const admin = await startAdminServer({
      port: config.UNSEAL_ADMIN_PORT,
      host: config.UNSEAL_HOST,
      registry,
      logger,
      ready: async () => [...(draining ? ["draining"] : []), ...(await health.problems())],
    })

    return {
      ports: { http: (server.address() as AddressInfo).port, admin: admin.port },
      async stop() {
        draining = true
        await drain()
        await watch.close()
        health.close()
        await Promise.all([producer.close(), observer.close()])
        redis.disconnect()
        await admin.close()
        await tracing?.close()
      },
    }
  })
