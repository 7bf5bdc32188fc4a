import type { ArchiveJob } from "@unseal/queue/jobs/archive-jobs"
import { expect, test } from "vitest"
import { nextMove, type ShownArchive } from "./next.ts"
import { archiveText } from "./text.ts"

const JOB_ID = "123456_b0c2b6a1-0000-4000-8000-000000000001"
const JOB: ArchiveJob = {
  ...{ jobId: JOB_ID, projectId: "123456", archiveId: JOB_ID.slice(7), state: "waiting", lane: "live" },
  ...{ since: "2026-01-01T10:00:00.000Z", addedAt: "2026-01-01T09:00:00.000Z" },
  ...{ attempts: 1, failure: null, lostWorkers: 0 },
}
const shown = (job: Partial<ArchiveJob>): ShownArchive => {
  const notLooked = "not configured"
  return {
    ...{ projectId: "123456", jobs: { found: [{ ...JOB, ...job }] } },
    ...{ source: { notLooked }, destination: { notLooked }, uploads: { notLooked }, vendor: { notLooked } },
  }
}
const text = (job: Partial<ArchiveJob>, pause: { since: string; by: string } | null = null) => {
  const archive = shown(job)
  return archiveText(archive, nextMove(archive, pause as Parameters<typeof nextMove>[1]))
}
const RUNNING = {
  ...{ state: "running" as const, worker: "host:1", isLocked: true },
  upload: {
    ...{ token: "t", destinationKey: "k", parts: 3, partsWritten: 2 },
    ...{ bytes: 1_000, bytesWritten: 800 },
  },
}
const SUSPENSION = {
  ...{ projectId: "123456", side: "source", code: "ERR_STORE_UNAVAILABLE", held: 2 },
  ...{ since: "2026-01-01T09:30:00.000Z", reason: "the store is away", remedy: "look at the store" },
} as unknown as NonNullable<ArchiveJob["suspension"]>

test("a running job: since when, where, and its progress", () => {
  const told = text(RUNNING)
  expect(told).toMatch(/^queue {10}running since 2026-01-01T10:00:00.000Z on host:1$/m)
  expect(told).toMatch(/^ {15}job \S+, added 2026-01-01T09:00:00.000Z, 1 attempt so far$/m)
  expect(told).toMatch(/^ {15}2 of 3 parts written, 800 B of 1.0 kB$/m)
  expect(told).toMatch(/^next {11}nothing to do: a worker is decrypting it$/m)
})

test("a bulk job is shown as bulk, because it waits for live ones", () => {
  expect(text({ ahead: 7, lane: "bulk" })).toMatch(
    /^ {15}job \S+, added .*, 1 attempt so far, in the bulk lane$/m,
  )
})

test("a job whose worker is gone: who takes it", () => {
  const told = text({ ...RUNNING, isLocked: false, lostWorkers: 1 })
  expect(told).toMatch(/on host:1, which no longer renews its lock$/m)
  expect(told).toMatch(/^ {15}1 worker ended with it in hand$/m)
  expect(told).toMatch(/^next .*another one takes the job within a minute/m)
})

test("a waiting job: how many are before it", () => {
  expect(text({ ahead: 0 })).toMatch(/^queue {10}waiting since 2026-01-01T10:00:00.000Z, next in line$/m)
  expect(text({ ahead: 7 })).toMatch(/, 7 before it$/m)
  expect(text({})).toMatch(/, on its way back in line$/m)
  expect(text({ ahead: 7 })).toMatch(/^next .*a worker takes it when its turn comes/m)
})

test("a held job: by what, until when, and what ends it", () => {
  const until = "2026-01-02T10:00:00.000Z"
  const held = (isProbe: boolean) => text({ state: "held", until, suspension: { ...SUSPENSION, isProbe } })
  expect(held(false)).toMatch(
    /^queue {10}held since \S+: project 123456 is suspended on its source since 2026-01-01T09:30:00.000Z, the store is away; a dead letter at 2026-01-02/m,
  )
  expect(held(true)).toMatch(/; it is the probe, tried at 2026-01-02/)
  expect(held(true)).toMatch(/^next {11}look at the store; .*"unseal queue resume --project 123456"/m)
})

test("while the queue is paused nothing begins, and running jobs go on", () => {
  const pause = { since: "2026-01-01T10:00:00.000Z", by: "somebody" }
  for (const state of ["waiting", "delayed"] as const)
    expect(text({ state }, pause)).toMatch(/^next {11}the queue is paused.*"unseal queue resume" ends/m)
  expect(text(RUNNING, pause)).toMatch(/^next {11}nothing to do: a worker is decrypting it$/m)
})

test("a dead letter whose remedy is a new submission: the commands that submit it", () => {
  for (const code of ["ERR_JOB_INVALID", "ERR_PASSWORD_INVALID"] as const) {
    const failure = { code, reason: "it is malformed" } as unknown as NonNullable<ArchiveJob["failure"]>
    const told = text({ state: "dead", failure })
    expect(told).toMatch(/^next .*, then submit it again: "unseal submit CALLBACK\.json" or /m)
    expect(told).not.toContain("queue redrive")
  }
})
