/** Redis. */
import { type Case, stays } from "../case.ts"

export const REDIS_CASES: readonly Case[] = [
  {
    alert: "UnsealRedisUnavailable",
    ...{ severity: "critical", owner: "deployment", labels: {} },
    series: { 'unseal_redis_ok{job="ingest"': [stays(1), stays(0)] },
    summary: "Deployment: Redis does not take writes",
    description:
      "Processes that can't write to Redis: 1. Ingest answers 503, and workers begin nothing. /readyz of a process says what Redis said.",
  },
  {
    alert: "UnsealRedisMemory",
    ...{ severity: "warning", owner: "deployment", labels: {} },
    series: { unseal_queue_bytes: [stays(700e6), stays(750e6)] },
    summary: "Deployment: Redis runs out of memory",
    description: "Redis uses 75% of its maxmemory. From 80% on, ingest answers 503.",
  },
  {
    alert: "UnsealRedisMemory",
    ...{ severity: "critical", owner: "deployment", labels: {} },
    series: { unseal_queue_bytes: [stays(700e6), stays(850e6)] },
    summary: "Deployment: Redis runs out of memory",
    description: "Redis uses 85% of its maxmemory. Ingest answers 503 until there is room.",
    also: [
      {
        alert: "UnsealRedisMemory",
        ...{ severity: "warning", owner: "deployment", labels: {} },
        summary: "Deployment: Redis runs out of memory",
        description: "Redis uses 85% of its maxmemory. From 80% on, ingest answers 503.",
      },
    ],
  },
  {
    alert: "UnsealRedisWritesFail",
    ...{ severity: "critical", owner: "deployment", labels: { write: "aof-write" } },
    series: { unseal_redis_persistence_ok: [stays(1), stays(0)] },
    summary: "Deployment: Redis can't write to its disk (aof-write)",
    description:
      "The last aof-write of Redis failed. If it stops now, it may lose acknowledged archives. Its log says why; most often the disk is full.",
  },
  {
    alert: "UnsealRedisNotDurable",
    ...{ severity: "warning", owner: "deployment", labels: { guarantee: "fsync-always" } },
    series: { unseal_redis_durable: [stays(1), stays(0)] },
    summary: "Deployment: Redis may lose what it acknowledges (fsync-always)",
    description:
      "Redis lacks the guarantee fsync-always. A crash, or a full memory, then loses archives whose callbacks were answered 202.",
  },
  {
    alert: "UnsealRedisReplicas",
    ...{ severity: "warning", owner: "deployment", labels: {} },
    series: { unseal_redis_replicas: [stays(2), stays(1)] },
    summary: "Deployment: Redis has lost a replica",
    description:
      "Replicas of Redis now: 1. There were more within the last hour. With UNSEAL_REDIS_REPLICAS, ingest answers 503 when there are too few.",
  },
]
