import { GUARANTEES, type ServerState, WRITES } from "@unseal/queue/observer/server-state"
import { createGauge, type Registry } from "@unseal/service/metrics"

/** Shows at each scrape what `read` resolves to. A value that is not known is absent. While `read` gives `null`, all are. */
export function createServerMetrics(registry: Registry, read: () => Promise<ServerState | null>): void {
  function gauge(name: string, help: string, of: (state: ServerState) => number | undefined): void {
    createGauge(registry, {
      ...{ name, help, labels: {}, overReplicas: "max" },
      async collect(set) {
        const state = await read()
        const value = state === null ? undefined : of(state)
        if (value !== undefined) set({}, value)
      },
    })
  }
  gauge(
    "unseal_queue_bytes",
    "Memory that Redis uses, for the queue and everything else it holds",
    ({ usedBytes }) => usedBytes,
  )
  gauge(
    "unseal_redis_memory_limit_bytes",
    "Memory that Redis may use (maxmemory); 0 without a limit. Ingest refuses callbacks from 80 % on",
    ({ limitBytes }) => limitBytes,
  )
  createGauge(registry, {
    name: "unseal_redis_durable",
    help: "1 while the settings of Redis keep what it acknowledged: an append-only file, synced always, and no eviction; absent if Redis does not say",
    labels: { guarantee: GUARANTEES },
    overReplicas: "min",
    async collect(set) {
      const { durable = {} } = (await read()) ?? {}
      for (const guarantee of GUARANTEES)
        if (durable[guarantee] !== undefined) set({ guarantee }, Number(durable[guarantee]))
    },
  })
  createGauge(registry, {
    name: "unseal_redis_persistence_ok",
    help: "1 while the last write of Redis to its disk succeeded: to the append-only file, its last rewrite, its last snapshot",
    labels: { write: WRITES },
    overReplicas: "min",
    async collect(set) {
      const { written = {} } = (await read()) ?? {}
      for (const write of WRITES) if (written[write] !== undefined) set({ write }, Number(written[write]))
    },
  })
  gauge("unseal_redis_replicas", "Replicas that are connected to Redis", ({ replicas }) => replicas)
  gauge("unseal_redis_clients", "Clients that are connected to Redis", ({ clients }) => clients)
  gauge(
    "unseal_redis_uptime_seconds",
    "Time since Redis started; it falls with a restart, and when another server takes over",
    ({ uptimeSeconds }) => uptimeSeconds,
  )
}
