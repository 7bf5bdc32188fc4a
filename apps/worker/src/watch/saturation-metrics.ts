import type { MeasuredBudget } from "@unseal/archive/decrypt/budget"
import { LANES } from "@unseal/queue/jobs/lane"
import type { Consumer } from "@unseal/queue/run/consumer"
import { createGauge, type Registry } from "@unseal/service/metrics"

/** A run without progress for this long is idle. Reads and writes report every byte. */
const IDLE_MS = 60_000

export interface Saturable {
  /** Archives at once, at most. */
  readonly concurrency: number
  readonly budget: Pick<MeasuredBudget, "used" | "bulkUsed" | "limit" | "waiting">
  readonly consumer: () => Pick<Consumer, "active" | "activeBulk" | "idleMs">
}

/** How much of the worker is in use, and whether what is in use moves. */
export function createSaturationMetrics(
  registry: Registry,
  { concurrency, budget, consumer }: Saturable,
): void {
  const gauge = (name: string, help: string, overReplicas: "sum" | "max", of: () => number) =>
    createGauge(registry, {
      ...{ name, help, labels: {}, overReplicas },
      collect: (set) => set({}, of()),
    })
  const byLane = (name: string, help: string, all: () => number, bulk: () => number) =>
    createGauge(registry, {
      ...{ name, help, labels: { lane: LANES }, overReplicas: "sum" },
      collect(set) {
        set({ lane: "live" }, all() - bulk())
        set({ lane: "bulk" }, bulk())
      },
    })
  const idle = () => consumer().idleMs()
  byLane(
    "unseal_slots_busy",
    "Archives that the worker has in hand, by lane",
    () => consumer().active,
    () => Math.min(consumer().activeBulk, consumer().active),
  )
  gauge(
    "unseal_slots_limit",
    "Archives that the worker takes at once (UNSEAL_CONCURRENCY); bulk ones leave a quarter of them free",
    "sum",
    () => concurrency,
  )
  byLane(
    "unseal_memory_budget_used_bytes",
    "Memory that parts hold, of unseal_memory_budget_limit_bytes, by lane",
    () => budget.used,
    () => budget.bulkUsed,
  )
  gauge(
    "unseal_memory_budget_limit_bytes",
    "Memory that parts may hold (UNSEAL_PARTS_IN_FLIGHT times UNSEAL_PART_SIZE_BYTES)",
    "sum",
    () => budget.limit,
  )
  gauge("unseal_memory_budget_waiting", "Parts that wait for memory", "sum", () => budget.waiting)
  gauge(
    "unseal_runs_idle",
    "Runs that have had no step, part or byte for a minute or longer",
    "sum",
    () => idle().filter((ms) => ms >= IDLE_MS).length,
  )
  gauge(
    "unseal_run_idle_seconds",
    "Longest time that a current run has been without a step, a part or a byte; 0 without runs",
    "max",
    () => Math.max(0, ...idle()) / 1_000,
  )
}
