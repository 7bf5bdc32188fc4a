import { ERROR_CODES, type ErrorCode } from "@unseal/archive/errors"
import type { QueueState } from "@unseal/queue/observer/queue-state"
import { SUSPENDING_CODES, WAITING_CODES } from "@unseal/queue/run/ending"
import { SIDES } from "@unseal/queue/suspension/state"
import { expect, it } from "vitest"
import { codeIn, compareWithDocument, exposedIn, rowsOf } from "./exposed.ts"
import { ingestRegistry, workerRegistry } from "./metrics.ts"

const project = { id: "123456", callbackAuth: "signed", signatureSecrets: ["0123456789abcdef"] } as const
const projects = { ids: ["123456"], get: (id: string) => (id === project.id ? project : undefined) }
const LANE = { waiting: 0, waitingBytes: 0, oldestWaitingSeconds: 0 }
const QUEUE: QueueState = {
  jobs: { waiting: 0, active: 0, delayed: 0, suspended: 0, completed: 0, failed: 0 },
  lanes: { live: LANE, bulk: LANE },
  ...{ oldestUnfinishedSeconds: 0, oldestDeadLetterSeconds: 0 },
  backlog: { waitingBytes: 0, waitingBulkBytes: 0, activeBytes: 0, delayedBytes: 0, isPaused: false },
  accounts: { accepted: 0, committed: 0, deadLetters: 0, live: 0, discarded: 0, missing: 0 },
  ...{ deadLetters: new Map(), suspensions: [], lastCallbackSeconds: null, sweep: null },
}
const seriesOf = async (registry: ReturnType<typeof ingestRegistry>, pattern: RegExp) =>
  (await registry.metrics()).match(pattern) ?? []

it("a project costs a fresh ingest 13 series, and a fresh worker 27", async () => {
  expect(await seriesOf(ingestRegistry(projects), /^.*project="123456".*$/gm)).toHaveLength(13)
  // Five outcomes without a code, and a dead letter of each code.
  expect(await seriesOf(workerRegistry(projects), /^.*project="123456".*$/gm)).toHaveLength(27)
})

it("only a worker that can't read a job counts for no project", async () => {
  const series = await seriesOf(workerRegistry(projects), /^unseal_archives_total.*project="unknown".*$/gm)
  expect(series).toEqual([
    'unseal_archives_total{project="unknown",outcome="dead-letter",code="ERR_JOB_INVALID"} 0',
  ])
})

it("what is suspended, slowed down or stood aside from has the series that the document lists", async () => {
  const one = { projectId: "123456", reason: "", remedy: "", since: "", nextProbeAt: null }
  const all = SIDES.flatMap((side) => SUSPENDING_CODES.map((code) => ({ ...one, side, code })))
  const registry = workerRegistry(projects, {
    observed: {
      queue: async () => ({
        ...QUEUE,
        suspensions: all.map((one) => ({ ...one, seconds: 1, probes: 1, held: 1 })),
      }),
      server: async () => null,
    },
    limits: () =>
      (["source", "destination"] as const).map((side) => ({ projectId: "123456", side, limit: 2 })),
    asides: () => SIDES.map((side) => ({ projectId: "123456", side, code: "ERR_STORE_DENIED" })),
  })
  const names = [
    "unseal_suspended",
    "unseal_suspended_seconds",
    "unseal_suspended_archives",
    "unseal_store_requests_limit",
    "unseal_worker_aside",
  ]
  const rows = rowsOf("metrics.md").filter(([cell]) => names.includes(codeIn(cell)[0]!))
  expect(rows).toHaveLength(5)
  expect(compareWithDocument(exposedIn(await registry.metrics()), rows)).toBe(
    3 * all.length + 2 + SIDES.length,
  )
})

it("what is never tried again has no series of retries", async () => {
  const series = await seriesOf(workerRegistry(projects), /^unseal_retries_total.*$/gm)
  const codesOf = (layer: string) =>
    series.filter((line) => line.includes(`"${layer}"`)).map((line) => /code="(\w+)"/.exec(line)![1]!)
  expect(codesOf("request")).toEqual(
    expect.arrayContaining([
      "ERR_STORE_UNAVAILABLE",
      "ERR_STORE_DENIED",
      "ERR_STORE_BUSY",
      "ERR_KEY_SERVICE_UNAVAILABLE",
    ]),
  )
  expect(codesOf("request")).toHaveLength(4)
  expect(codesOf("job")).toEqual(
    expect.arrayContaining(["ERR_RUN_STUCK", "ERR_UNEXPECTED", ...WAITING_CODES]),
  )
  for (const code of codesOf("job").filter((name): name is ErrorCode => name in ERROR_CODES))
    expect([ERROR_CODES[code].kind, ERROR_CODES[code].owner], code).not.toEqual(["permanent", "archive"])
})
