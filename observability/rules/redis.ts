/** Redis: whether it takes writes, has room, and keeps what it acknowledges. */
import { type Alert, by, type Clock, type Group, MINUTE } from "./rule.ts"

export function redisRules({ span }: Clock): Group {
  const used = `${by("max", "unseal_queue_bytes")} / (${by("max", "unseal_redis_memory_limit_bytes")} > 0)`
  const memory = (severity: Alert["severity"], limit: number, then: string): Alert => ({
    alert: "UnsealRedisMemory",
    ...{ severity, owner: "deployment", for: span(2 * MINUTE) },
    expr: `${used} > ${limit}`,
    summary: "Redis runs out of memory",
    description: `Redis uses {{ $value | humanizePercentage }} of its maxmemory. ${then}`,
  })
  const uptime = "unseal_redis_uptime_seconds"
  return {
    name: "unseal-redis",
    rules: [
      {
        alert: "UnsealRedisUnavailable",
        ...{ severity: "critical", owner: "deployment", for: span(MINUTE) },
        expr: "count by (namespace) (unseal_redis_ok == 0)",
        summary: "Redis does not take writes",
        description:
          'Processes that can\'t write to Redis: {{ printf "%.0f" $value }}. Ingest answers 503, and workers begin nothing. /readyz of a process says what Redis said.',
      },
      memory("warning", 0.7, "From 80% on, ingest answers 503."),
      memory("critical", 0.8, "Ingest answers 503 until there is room."),
      {
        alert: "UnsealRedisWritesFail",
        ...{ severity: "critical", owner: "deployment", for: span(MINUTE) },
        expr: `${by("min", "unseal_redis_persistence_ok", "write")} == 0`,
        summary: "Redis can't write to its disk ({{ $labels.write }})",
        description:
          "The last {{ $labels.write }} of Redis failed. If it stops now, it may lose acknowledged archives. Its log says why; most often the disk is full.",
      },
      {
        alert: "UnsealRedisNotDurable",
        ...{ severity: "warning", owner: "deployment", for: span(MINUTE) },
        expr: `${by("min", "unseal_redis_durable", "guarantee")} == 0`,
        summary: "Redis may lose what it acknowledges ({{ $labels.guarantee }})",
        description:
          "Redis lacks the guarantee {{ $labels.guarantee }}. A crash, or a full memory, then loses archives whose callbacks were answered 202.",
      },
      {
        alert: "UnsealRedisReplicas",
        ...{ severity: "warning", owner: "deployment", for: span(2 * MINUTE) },
        expr: `${by("max", "unseal_redis_replicas")} < ${by("max", `max_over_time(unseal_redis_replicas[${span(60 * MINUTE)}])`)}`,
        summary: "Redis has lost a replica",
        description:
          'Replicas of Redis now: {{ printf "%.0f" $value }}. There were more within the last hour. With UNSEAL_REDIS_REPLICAS, ingest answers 503 when there are too few.',
      },
      {
        alert: "UnsealRedisRestarted",
        ...{ severity: "info", owner: "deployment", for: span(0) },
        expr: `${by("max", uptime)} + ${5} < ${by("max", `max_over_time(${uptime}[${span(15 * MINUTE)}])`)}`,
        summary: "Redis restarted, or a younger server took over",
        description:
          "The Redis that holds the queue has been up for {{ $value | humanizeDuration }}, and an older one held it a few minutes ago.",
      },
    ],
  }
}
