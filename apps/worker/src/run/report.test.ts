import { UnsealError } from "@unseal/archive/errors"
import type { JobPayload } from "@unseal/queue/jobs/job"
import type { EndedRun } from "@unseal/queue/run/consumer"
import { createLogger } from "@unseal/service/log/logger"
import { createRegistry, type Registry } from "@unseal/service/metrics"
import { beforeEach, expect, test } from "vitest"
import { createWorkerMetrics } from "../metrics.ts"
import type { JobResult } from "./job-result.ts"
import { createReport } from "./report.ts"

const CANARY = "d3JhcHBlZC1jYW5hcnk="

let registry: Registry
let lines: Record<string, unknown>[]
let report: (ending: EndedRun<JobResult>["ending"], run?: Partial<EndedRun<JobResult>>) => void

beforeEach(() => {
  registry = createRegistry()
  lines = []
  const logger = createLogger("worker", "debug", { write: (line) => lines.push(JSON.parse(line)) })
  const metrics = createWorkerMetrics(registry, { ids: ["100001"] }, { holders: 3 })
  const ended = createReport(metrics, logger, {
    traceIdOf: () => "0af7651916cd43dd8448eb211c80319c",
    exportedIdOf: () => undefined,
  })
  report = (ending, run = {}) =>
    ended({
      ...{ jobId: "j1", attempt: 2, starts: 2, durationMs: 2_000 },
      payload: {
        ...{ version: 1, projectId: "100001", archiveId: "a1", encryptedPassword: CANARY },
        ...{ status: "uploaded", receivedAt: "2026-01-02T03:04:05Z", nonce: "n" },
      },
      ending,
      ...run,
    })
})

/** The samples that are not 0, without Node's own. */
async function samples(): Promise<string[]> {
  const text = await registry.metrics()
  return text.split("\n").filter((line) => /^unseal_(?!build)/.test(line) && !/ 0$/.test(line))
}

const result: JobResult = {
  ...{ outcome: "committed", destinationKey: "100001/a1/archive.ts", size: 10_000_000 },
  ...{ tail: "pkcs7", syncErrors: 0, announcedSize: "fits" },
}

test("a committed archive is one line with its size and speed, and one count", async () => {
  report({ kind: "committed", result })
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatchObject({
    ...{ level: "info", msg: "archive committed", jobId: "j1", archiveId: "a1", projectId: "100001" },
    ...{ outcome: "committed", size: 10_000_000, seconds: 2, megabytesPerSecond: 5, tail: "pkcs7" },
    ...{ syncErrors: 0, attempt: 2, traceId: "0af7651916cd43dd8448eb211c80319c" },
  })
  const text = (await samples()).join("\n")
  expect(text).toContain(`unseal_archives_total{project="100001",outcome="committed",code="none"} 1`)
  expect(text).toContain(`unseal_tail_total{form="pkcs7"} 1`)
  expect(text).toContain("unseal_archive_seconds_sum 2")
  expect(text).toContain("unseal_parts_in_flight 3")
})

test("an archive that an earlier run had committed does not count as work", async () => {
  report({ kind: "committed", result: { ...result, outcome: "already-committed" } })
  const text = (await samples()).join("\n")
  expect(text).toContain(`outcome="already-committed",code="none"} 1`)
  expect(text).not.toContain("unseal_tail_total")
})

test("an archive counts once in the time from its callback to its end: committed, empty, or a dead letter", async () => {
  const counts = async () =>
    (await samples()).filter((line) => line.startsWith("unseal_archive_end_to_end_seconds_count"))
  report({ kind: "committed", result })
  report({ kind: "committed", result: { ...result, outcome: "empty" } })
  report({ kind: "dead-letter", code: "ERR_NOT_MPEG_TS", reason: "r" })
  // A callback again, long after: nothing was done for it.
  report({ kind: "committed", result: { ...result, outcome: "already-committed" } }, { starts: 1 })
  for (const kind of ["handed-back", "lock-lost", "held"] as const) report({ kind })
  // A bulk archive, whose long wait would hide the waits of live ones.
  const bulk = { version: 1, projectId: "100001", archiveId: "a1", lane: "bulk" } as unknown as JobPayload
  report({ kind: "committed", result }, { payload: bulk })
  report({ kind: "dead-letter", code: "ERR_NOT_MPEG_TS", reason: "r" }, { payload: bulk })
  expect(await counts()).toEqual([
    'unseal_archive_end_to_end_seconds_count{outcome="committed"} 1',
    'unseal_archive_end_to_end_seconds_count{outcome="empty"} 1',
    'unseal_archive_end_to_end_seconds_count{outcome="dead-letter"} 1',
  ])
  // Its worker was killed between the commit and the word of it.
  report({ kind: "committed", result: { ...result, outcome: "already-committed" } }, { starts: 2 })
  expect((await counts())[0]).toMatch(/ 2$/)
})

test("a dead letter is an error with its code, kind, remedy and attempt", async () => {
  const error = new UnsealError("ERR_NO_MATCHING_KEY", "none of 3 keys fits")
  const reason = "ERR_NO_MATCHING_KEY: none of 3 keys fits"
  report({ kind: "dead-letter", code: error.code, reason }, { error })
  expect(lines[0]).toMatchObject({
    ...{ level: "error", code: "ERR_NO_MATCHING_KEY", kind: "permanent", reason, attempt: 2 },
    remedy: expect.stringContaining("private key"),
  })
  expect(await samples()).toContain(
    `unseal_archives_total{project="100001",outcome="dead-letter",code="ERR_NO_MATCHING_KEY"} 1`,
  )
})

test("an error's own remedy takes precedence", () => {
  const remedy = "give the credentials the permission s3:ListBucket"
  const error = new UnsealError("ERR_OBJECT_NOT_FOUND", "no object", { remedy })
  const reason = "ERR_OBJECT_NOT_FOUND: no object"
  report({ kind: "waiting", code: error.code, reason, waitedMs: 0, delayMs: 1_000 } as never, { error })
  report({ kind: "dead-letter", code: error.code, reason }, { error })
  expect(lines.map((line) => line.remedy)).toEqual([remedy, remedy])
  expect(lines[1]).toHaveProperty("meaning", expect.stringContaining("source keys"))
})

test("a run that is tried again counts as a retry, not as an archive", async () => {
  report({ kind: "retry", code: "ERR_STORE_UNAVAILABLE", reason: "ERR_STORE_UNAVAILABLE: x" })
  report({
    kind: "waiting",
    code: "ERR_OBJECT_NOT_FOUND",
    reason: "ERR_OBJECT_NOT_FOUND: x",
    waitedMs: 0,
    delayMs: 1_000,
  })
  expect(lines.map(({ level }) => level)).toEqual(["warn", "info"])
  const text = (await samples()).join("\n")
  expect(text).toContain(`unseal_retries_total{layer="job",code="ERR_STORE_UNAVAILABLE"} 1`)
  expect(text).toContain(`unseal_retries_total{layer="job",code="ERR_OBJECT_NOT_FOUND"} 1`)
  expect(text).not.toContain("unseal_archives_total")
})

test("an archive counts once by its announced size: committed, or given up for it", async () => {
  report({ kind: "committed", result })
  report({ kind: "committed", result: { ...result, announcedSize: "absent" } })
  report({ kind: "committed", result: { ...result, announcedSize: "differs", outcome: "already-committed" } })
  report({
    kind: "waiting",
    code: "ERR_OBJECT_INCOMPLETE",
    reason: "ERR_OBJECT_INCOMPLETE: x",
    waitedMs: 0,
    delayMs: 1_000,
  })
  report({ kind: "dead-letter", code: "ERR_OBJECT_INCOMPLETE", reason: "ERR_OBJECT_INCOMPLETE: x" })
  expect((await samples()).filter((line) => line.startsWith("unseal_announced_size_total"))).toEqual([
    'unseal_announced_size_total{outcome="fits"} 1',
    'unseal_announced_size_total{outcome="differs"} 1',
    'unseal_announced_size_total{outcome="absent"} 1',
  ])
})

test("a thousand waiting archives make a few lines", () => {
  for (let each = 0; each < 1_000; each++)
    report({
      kind: "waiting",
      code: "ERR_OBJECT_NOT_FOUND",
      reason: "ERR_OBJECT_NOT_FOUND: x",
      waitedMs: 0,
      delayMs: 1_000,
    })
  expect(lines.length).toBeLessThan(100)
})

test("hand-backs and lost locks are counted separately from failures", async () => {
  report({ kind: "handed-back" })
  report({ kind: "lock-lost" })
  const text = (await samples()).join("\n")
  expect(text).toContain(`outcome="handed-back",code="none"} 1`)
  expect(text).toContain(`outcome="lock-lost",code="none"} 1`)
})

test("a job without a readable payload, or of another project, makes no label of its own", async () => {
  report(
    { kind: "dead-letter", code: "ERR_JOB_INVALID", reason: "ERR_JOB_INVALID: x" },
    { payload: undefined! },
  )
  expect(await samples()).toContain(
    `unseal_archives_total{project="unknown",outcome="dead-letter",code="ERR_JOB_INVALID"} 1`,
  )
})

test("no line and no metric holds the encrypted password", async () => {
  report({ kind: "committed", result })
  report({ kind: "dead-letter", code: "ERR_UNEXPECTED", reason: "x" }, { error: new Error("boom") })
  report({ kind: "retry", code: "ERR_UNEXPECTED", reason: "x" }, { error: new Error("boom") })
  report({ kind: "lock-lost" })
  expect(JSON.stringify(lines) + (await registry.metrics())).not.toContain(CANARY)
})
