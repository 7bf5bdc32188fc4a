import { createRegistry } from "@unseal/service/metrics"
import { expect, test } from "vitest"
import { createRequestMetrics, sideOf } from "./request-metrics.ts"
import { createSaturationMetrics } from "./saturation-metrics.ts"

test("requests are timed by side, operation and outcome; without a failure there is no series of failures", async () => {
  const registry = createRegistry()
  const requests = createRequestMetrics(registry)
  requests.store("destination", { operation: "write", outcome: "busy", seconds: 0.02 })
  requests.vendor("missing", 0.3)
  requests.keys("unavailable", 5)
  const counts = (await registry.metrics()).match(/^unseal_\w+_request_seconds_count.* 1$/gm)
  expect(counts).toEqual([
    'unseal_store_request_seconds_count{side="destination",operation="write",outcome="busy"} 1',
    'unseal_vendor_request_seconds_count{outcome="missing"} 1',
    'unseal_key_request_seconds_count{outcome="unavailable"} 1',
  ])
  const text = await registry.metrics()
  expect(text).toContain('unseal_store_request_seconds_count{side="source",operation="read",outcome="ok"} 0')
  expect(text).not.toContain('side="vendor",operation="write"')
  expect(text).not.toContain('outcome="denied"')
})

test("a store that both sides use counts looks and reads as the source's, and what changes it as the destination's", () => {
  const used = { sources: new Set(["a", "b"]), destinations: new Set(["b", "c"]) }
  expect((["a", "b", "c"] as const).map((url) => sideOf(url, "look", used))).toEqual([
    "source",
    "source",
    "destination",
  ])
  expect(sideOf("b", "commit", used)).toBe("destination")
  expect(sideOf("c", "read", used)).toBe("destination")
})

test("a scrape shows what is in use of the worker, and which runs stand still", async () => {
  const registry = createRegistry()
  createSaturationMetrics(registry, {
    ...{ concurrency: 8, budget: { used: 5, bulkUsed: 1, limit: 40, waiting: 2 } },
    consumer: () => ({ active: 3, activeBulk: 2, idleMs: () => [10, 59_999, 61_000] }),
  })
  const text = await registry.metrics()
  for (const sample of [
    ...['unseal_slots_busy{lane="live"} 1', 'unseal_slots_busy{lane="bulk"} 2', "unseal_slots_limit 8"],
    ...['unseal_memory_budget_used_bytes{lane="live"} 4', 'unseal_memory_budget_used_bytes{lane="bulk"} 1'],
    ...["unseal_memory_budget_limit_bytes 40", "unseal_memory_budget_waiting 2"],
    ...["unseal_runs_idle 1", "unseal_run_idle_seconds 61"],
  ])
    expect(text).toContain(`${sample}\n`)
})
