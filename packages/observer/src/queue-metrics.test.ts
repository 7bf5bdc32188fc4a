import type { QueueState } from "@unseal/queue/observer/queue-state"
import type { Suspension } from "@unseal/queue/suspension/state"
import { createRegistry } from "@unseal/service/metrics"
import { expect, test } from "vitest"
import { createQueueMetrics } from "./queue-metrics.ts"
import { createServerMetrics } from "./server-metrics.ts"

const SUSPENSION: Suspension = {
  projectId: "100001",
  side: "source",
  code: "ERR_STORE_DENIED",
  seconds: 12.5,
  held: 7,
  ...{ reason: "", remedy: "", since: "", nextProbeAt: null, probes: 1 },
}

const STATE: QueueState = {
  jobs: { waiting: 4, active: 1, delayed: 2, suspended: 7, completed: 9, failed: 3 },
  lanes: {
    live: { waiting: 1, waitingBytes: 1e9, oldestWaitingSeconds: 1.5 },
    bulk: { waiting: 3, waitingBytes: 3e9, oldestWaitingSeconds: 86_400 },
  },
  oldestUnfinishedSeconds: 90,
  backlog: { waitingBytes: 4e9, waitingBulkBytes: 3e9, activeBytes: 1e9, delayedBytes: 2e9, isPaused: false },
  accounts: { accepted: 11, committed: 4, deadLetters: 3, live: 1, discarded: 2, missing: 1 },
  deadLetters: new Map([["ERR_NO_MATCHING_KEY", 3]]),
  oldestDeadLetterSeconds: 600,
  suspensions: [SUSPENSION],
  lastCallbackSeconds: 30,
  sweep: { uploads: { owned: 1, young: 2, orphan: 3, foreign: 4 }, seconds: 3_600 },
}

async function shown(state: QueueState | null, projectLabel = true): Promise<string[]> {
  const registry = createRegistry({ projectLabel })
  createQueueMetrics(registry, { ids: ["100001", "200002"] }, async () => state)
  return (await registry.metrics()).split("\n").filter((line) => /^unseal_(?!build_info)/.test(line))
}

test("a scrape shows the current queue", async () => {
  expect(await shown(STATE)).toEqual(
    expect.arrayContaining([
      'unseal_queue_jobs{state="waiting"} 4',
      'unseal_queue_jobs{state="suspended"} 7',
      'unseal_queue_jobs{state="failed"} 3',
      "unseal_queue_paused 0",
      "unseal_queue_oldest_seconds 1.5",
      'unseal_queue_lane_jobs{lane="live"} 1',
      'unseal_queue_lane_jobs{lane="bulk"} 3',
      'unseal_queue_lane_oldest_seconds{lane="live"} 1.5',
      'unseal_queue_lane_oldest_seconds{lane="bulk"} 86400',
      'unseal_queue_lane_bytes{lane="live"} 1000000000',
      'unseal_queue_lane_bytes{lane="bulk"} 3000000000',
      "unseal_queue_oldest_unfinished_seconds 90",
      'unseal_queue_backlog_bytes{state="waiting"} 4000000000',
      'unseal_queue_backlog_bytes{state="active"} 1000000000',
      'unseal_queue_backlog_bytes{state="delayed"} 2000000000',
      'unseal_queue_accounts{account="accepted"} 11',
      'unseal_queue_accounts{account="dead-letters"} 3',
      'unseal_queue_accounts{account="discarded"} 2',
      "unseal_queue_missing 1",
      'unseal_dead_letters{code="ERR_NO_MATCHING_KEY"} 3',
      'unseal_dead_letters{code="ERR_STALLED"} 0',
      "unseal_dead_letters_oldest_seconds 600",
      'unseal_suspended{project="100001",side="source",code="ERR_STORE_DENIED"} 1',
      'unseal_suspended_seconds{project="100001",side="source",code="ERR_STORE_DENIED"} 12.5',
      'unseal_suspended_archives{project="100001",side="source",code="ERR_STORE_DENIED"} 7',
      "unseal_last_callback_seconds 30",
      'unseal_uploads_open{kind="orphan"} 3',
      "unseal_uploads_swept_seconds 3600",
    ]),
  )
})

test("nothing waits for scaling while the queue is paused; what runs still counts", async () => {
  const lines = await shown({ ...STATE, backlog: { ...STATE.backlog, isPaused: true } })
  expect(lines).toContain("unseal_queue_paused 1")
  expect(lines).toContain('unseal_queue_backlog_bytes{state="waiting"} 0')
  expect(lines).toContain('unseal_queue_backlog_bytes{state="active"} 1000000000')
})

test("an unknown queue has no series, neither 0 nor NaN, and neither has an unknown value", async () => {
  expect(await shown(null)).toEqual([])
  const fresh = await shown({ ...STATE, suspensions: [], lastCallbackSeconds: null, sweep: null })
  expect(fresh.filter((line) => /suspended[{_]|callback|uploads/.test(line))).toEqual([])
})

test("without the label project, suspensions add up", async () => {
  const other = { ...SUSPENSION, projectId: "200002", seconds: 60, held: 3 }
  const lines = await shown({ ...STATE, suspensions: [SUSPENSION, other] }, false)
  expect(lines.filter((line) => line.startsWith("unseal_suspended"))).toEqual([
    'unseal_suspended{side="source",code="ERR_STORE_DENIED"} 2',
    'unseal_suspended_seconds{side="source",code="ERR_STORE_DENIED"} 60',
    'unseal_suspended_archives{side="source",code="ERR_STORE_DENIED"} 10',
  ])
})

test("a Redis that reports only some values shows those", async () => {
  const registry = createRegistry()
  createServerMetrics(registry, async () => ({
    ...{ usedBytes: 1_700_000, limitBytes: 0, uptimeSeconds: 60 },
    ...{ durable: { "append-only": true, "no-eviction": false }, written: { snapshot: false } },
  }))
  const lines = (await registry.metrics()).split("\n").filter((line) => /^unseal_(queue|redis)/.test(line))
  expect(lines).toEqual([
    "unseal_queue_bytes 1700000",
    "unseal_redis_memory_limit_bytes 0",
    'unseal_redis_durable{guarantee="append-only"} 1',
    'unseal_redis_durable{guarantee="no-eviction"} 0',
    'unseal_redis_persistence_ok{write="snapshot"} 0',
    "unseal_redis_uptime_seconds 60",
  ])
})
