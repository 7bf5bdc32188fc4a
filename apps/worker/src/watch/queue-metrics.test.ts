import { createRegistry } from "@unseal/service/metrics"
import { expect, test } from "vitest"
import { createAccountMetrics, createQueueMetrics, createSuspensionMetrics } from "./queue-metrics.ts"

const STATUS = {
  jobs: { waiting: 4, active: 1, delayed: 2, completed: 9, failed: 3 },
  oldestWaitingSeconds: 1.5,
}
const BACKLOG = { waitingBytes: 4e9, activeBytes: 1e9, delayedBytes: 2e9, isPaused: false }
const COUNTS = { total: 3, counted: 3, byCode: new Map([["ERR_NO_MATCHING_KEY" as const, 3]]) }

test("a scrape shows the current queue, and asks once", async () => {
  const registry = createRegistry()
  let asked = 0
  createQueueMetrics(registry, {
    status: async () => {
      asked++
      return STATUS
    },
    backlog: async () => BACKLOG,
    memory: async () => ({ usedBytes: 1_700_000, limitBytes: 0 }),
    deadLetters: { count: async () => COUNTS },
  })
  const text = await registry.metrics()
  for (const sample of [
    `unseal_queue_jobs{state="waiting"} 4`,
    `unseal_queue_jobs{state="failed"} 3`,
    "unseal_queue_oldest_seconds 1.5",
    "unseal_queue_bytes 1700000",
    `unseal_queue_backlog_bytes{state="waiting"} 4000000000`,
    `unseal_queue_backlog_bytes{state="active"} 1000000000`,
    `unseal_queue_backlog_bytes{state="delayed"} 2000000000`,
    `unseal_dead_letters{code="ERR_NO_MATCHING_KEY"} 3`,
    `unseal_dead_letters{code="ERR_STALLED"} 0`,
  ])
    expect(text).toContain(sample)
  expect(asked).toBe(1)
  await registry.metrics()
  expect(asked).toBe(2)
})

test("nothing waits for scaling while the queue is paused; what runs still counts", async () => {
  const registry = createRegistry()
  createQueueMetrics(registry, {
    status: async () => STATUS,
    backlog: async () => ({ ...BACKLOG, isPaused: true }),
    memory: async () => ({ usedBytes: 1, limitBytes: 0 }),
    deadLetters: { count: async () => COUNTS },
  })
  const text = await registry.metrics()
  expect(text).toContain(`unseal_queue_backlog_bytes{state="waiting"} 0\n`)
  expect(text).toContain(`unseal_queue_backlog_bytes{state="active"} 1000000000\n`)
})

test("a scrape is answered even if Redis is not: unknown values are NaN, not the previous ones", async () => {
  const registry = createRegistry()
  let away = false
  const never = new Promise<never>(() => {})
  createQueueMetrics(registry, {
    status: () => (away ? never : Promise.resolve(STATUS)),
    backlog: () => (away ? never : Promise.resolve(BACKLOG)),
    memory: () => (away ? never : Promise.resolve({ usedBytes: 1, limitBytes: 0 })),
    deadLetters: { count: async () => (away ? Promise.reject(new Error("away")) : COUNTS) },
  })
  await registry.metrics()
  away = true
  const text = await registry.metrics()
  expect(text).toMatch(/unseal_queue_jobs\{state="waiting"\} nan/i)
  expect(text).toMatch(/unseal_queue_bytes nan/i)
  expect(text).toMatch(/unseal_queue_backlog_bytes\{state="waiting"\} nan/i)
  expect(text).toMatch(/unseal_dead_letters\{code="ERR_STALLED"\} nan/i)
})

test("a scrape shows how many were accepted and their outcomes, or that these are unknown", async () => {
  const registry = createRegistry()
  let away = false
  const accounts = { accepted: 11, committed: 4, deadLetters: 3, live: 1, discarded: 2, missing: 1 }
  createAccountMetrics(registry, async () => {
    if (away) throw new Error("away")
    return accounts
  })
  const text = await registry.metrics()
  for (const sample of [
    `unseal_queue_accounts{account="accepted"} 11`,
    `unseal_queue_accounts{account="committed"} 4`,
    `unseal_queue_accounts{account="dead-letters"} 3`,
    `unseal_queue_accounts{account="live"} 1`,
    `unseal_queue_accounts{account="discarded"} 2`,
    "unseal_queue_missing 1",
  ])
    expect(text).toContain(sample)
  away = true
  expect(await registry.metrics()).toMatch(/unseal_queue_missing nan/i)
})

test("a scrape shows what is suspended and since when, and nothing that is over", async () => {
  const registry = createRegistry()
  let suspended = true
  createSuspensionMetrics(registry, { ids: ["100001", "200002"] }, async () => {
    if (!suspended) return []
    const one = { projectId: "100001", side: "source", code: "ERR_STORE_DENIED", seconds: 12.5 } as const
    return [{ ...one, reason: "", remedy: "", since: "", nextProbeAt: null, probes: 1, held: 7 }]
  })
  const samples = async () =>
    (await registry.metrics()).split("\n").filter((line) => line.startsWith("unseal_suspended"))
  const labels = 'project="100001",side="source",code="ERR_STORE_DENIED"'
  expect(await samples()).toEqual([
    `unseal_suspended{${labels}} 1`,
    `unseal_suspended_seconds{${labels}} 12.5`,
  ])
  suspended = false
  expect(await samples()).toEqual([])
})
