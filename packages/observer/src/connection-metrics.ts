import type { RedisLook } from "@unseal/queue/redis/health"
import { createGauge, createHistogram, type Registry } from "@unseal/service/metrics"

/** What one process sees of Redis. Call the returned function with each look. */
export function createConnectionMetrics(registry: Registry): (look: RedisLook) => void {
  const ok = createGauge(registry, {
    name: "unseal_redis_ok",
    help: "1 while Redis takes writes of this process, which tries every two seconds",
    labels: {},
    overReplicas: "min",
  })
  const seconds = createHistogram(registry, {
    name: "unseal_redis_write_seconds",
    help: "Time that Redis took for the write that this process tries every two seconds; failed writes do not count",
    labels: {},
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
  })
  let skewSeconds: number | undefined
  createGauge(registry, {
    name: "unseal_redis_clock_skew_seconds",
    help: "How far the clock of Redis is ahead of this machine's (negative: behind); 0 if the difference is no longer than a round trip",
    labels: {},
    overReplicas: "each",
    collect: (set) => void (skewSeconds === undefined || set({}, skewSeconds)),
  })
  return (look) => {
    ok.set({}, look.problem === null ? 1 : 0)
    if (look.seconds !== undefined) seconds.observe({}, look.seconds)
    skewSeconds = look.skewSeconds ?? skewSeconds
  }
}
