/** Feeders in processes of their own are killed at each step, over 10,000 lines, and Redis is emptied half-way. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openStore } from "@unseal/archive/store/open"
import { countOutcomes, type LineOutcome } from "@unseal/operations/backfill/home/outcomes"
import { readState } from "@unseal/operations/backfill/home/state"
import { readReport } from "@unseal/operations/backfill/report"
import { type Started, startBackfill } from "@unseal/operations/backfill/start"
import { createConsumer } from "@unseal/queue/run/consumer"
import { Redis } from "ioredis"
import { expect, test } from "vitest"
import { archiveOf, manifestOf, recordOf } from "../harness/backfill/world.ts"
import { startRedis } from "../harness/redis/redis.ts"

const LINES = 10_000
const never = new AbortController().signal
/** Where a feeder of each backfill dies, late enough that others of its lines are under way. */
const POINTS = [
  ...["looked:1", "looked:700", "enqueued:1", "enqueued:900", "confirmed:300"],
  ...["settling:1", "settled:1", "state-written:2", "settling:2", "ended:1"],
]
const LINES_EACH = LINES / POINTS.length

test("10,000 archives, with feeders that die at each step and a Redis that forgets, are committed once each", async () => {
  await using ends = new AsyncDisposableStack()
  const directory = await mkdtemp(join(tmpdir(), "unseal-backfill-"))
  ends.defer(() => rm(directory, { recursive: true, force: true }))
  const redis = await startRedis()
  ends.defer(() => redis.close())
  const client = new Redis(redis.url, { maxRetriesPerRequest: null })
  ends.defer(() => client.disconnect())
  const store = await openStore(`file://${directory}`, { env: {} })
  ends.defer(() => store.close())

  const archives = Array.from({ length: LINES }, () => archiveOf("100001"))
  const commits = new Map<string, number>()
  let isEmptied = false
  const consumer = createConsumer({
    ...{ connection: client, queue: "unseal", concurrency: 32 },
    async run(payload) {
      const { projectId, archiveId } = payload
      const key = `${projectId}/${archiveId}/archive.ts`
      await mkdir(join(directory, projectId, archiveId), { recursive: true })
      const isFirst = await writeFile(join(directory, key), "plaintext", { flag: "wx" }).then(
        () => true,
        () => false,
      )
      if (isFirst) commits.set(archiveId, (commits.get(archiveId) ?? 0) + 1)
      const record = JSON.stringify(recordOf(payload, key))
      await writeFile(join(directory, projectId, archiveId, "archive.json"), record, { flag: "wx" }).catch(
        () => {},
      )
      if (!isEmptied && commits.size >= LINES / 2) {
        isEmptied = true
        await client.flushall()
      }
      return {}
    },
    observe: { ended() {} },
  })
  ends.defer(() => consumer.close())

  const access = {
    ...{ connection: client, queue: "unseal", isProject: () => true },
    openHome: async () => store,
  }
  const feed = (point: string) => {
    const script = join(import.meta.dirname, "../harness/backfill/feeder-process.ts")
    const feeder = spawn(process.execPath, [script, redis.url, "unseal", directory, point], {
      stdio: ["ignore", "ignore", "inherit"],
    })
    return { feeder, gone: once(feeder, "exit", { signal: AbortSignal.timeout(300_000) }) }
  }
  const starts: Started[] = []
  for (const [index, point] of POINTS.entries()) {
    const lines = manifestOf(archives.slice(index * LINES_EACH, (index + 1) * LINES_EACH))
    const given = async function* () {
      yield* lines
    }
    starts.push(await startBackfill(access, given(), { again: false, segmentLines: 200 }, never))
    // It also goes on with what the ones before it have left.
    const [, signal] = await feed(point).gone
    expect(signal, point).toBe("SIGKILL")
  }
  const { feeder, gone } = feed("")
  const ended = async ({ id }: Started) => (await readState(store, id, never)).endedAt !== undefined
  for (const started of starts)
    await expect.poll(() => ended(started), { timeout: 300_000, interval: 200 }).toBe(true)
  feeder.kill("SIGKILL")
  await gone

  expect(isEmptied).toBe(true)
  expect(commits.size).toBe(LINES)
  expect([...commits.values()].filter((count) => count !== 1)).toEqual([])
  expect(await readdir(join(directory, "100001"))).toHaveLength(LINES)
  const report: LineOutcome[] = []
  for (const { id, manifest } of starts)
    report.push(
      ...(await Array.fromAsync(readReport(access, { id, home: "100001", store }, manifest, never))),
    )
  expect(report.map(({ archiveId }) => archiveId)).toEqual(archives.map(({ archiveId }) => archiveId))
  const { committed, done } = countOutcomes(report)
  expect(committed + done).toBe(LINES)
})
