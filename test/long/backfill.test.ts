/** Feeders in processes of their own are killed at each step, over 10,000 lines, and Redis is emptied half-way. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openStore } from "@unseal/archive/store/open"
import { readManifest } from "@unseal/operations/backfill/manifest"
import { countOutcomes } from "@unseal/operations/backfill/outcomes"
import { readReport } from "@unseal/operations/backfill/report"
import { startBackfill } from "@unseal/operations/backfill/start"
import { readState } from "@unseal/operations/backfill/state"
import { createConsumer } from "@unseal/queue/run/consumer"
import { Redis } from "ioredis"
import { expect, test } from "vitest"
import { archiveOf, manifestOf, recordOf } from "../harness/backfill/world.ts"
import { startRedis } from "../harness/redis/redis.ts"

const LINES = 10_000
const never = new AbortController().signal
/** Where each of ten feeders in a row dies: early and late passages. The last one lives. */
const POINTS = [
  ...["looked:1", "looked:700", "enqueued:1", "enqueued:900", "confirmed:300", "confirmed:2500"],
  ...["settling:1", "settled:1", "state-written:2", "settling:2", ""],
]

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
  const given = async function* () {
    yield* manifestOf(archives)
  }
  const options = { again: false, segmentLines: 2_000 }
  const started = await startBackfill(access, given(), options, never)

  let kills = 0
  for (const point of POINTS) {
    const script = join(import.meta.dirname, "../harness/backfill/feeder-process.ts")
    const feeder = spawn(process.execPath, [script, redis.url, "unseal", directory, point], {
      stdio: ["ignore", "ignore", "inherit"],
    })
    const gone = once(feeder, "exit")
    const hasEnded = async () => (await readState(store, started.id, never)).endedAt !== undefined
    if (point !== "") {
      const [, signal] = await Promise.race([
        gone,
        expect
          .poll(hasEnded, { timeout: 300_000, interval: 500 })
          .toBe(true)
          .then(() => [0, "ended"]),
      ])
      kills += Number(signal === "SIGKILL")
    } else await expect.poll(hasEnded, { timeout: 300_000, interval: 200 }).toBe(true)
    feeder.kill("SIGKILL")
    await gone
  }

  expect(kills).toBe(POINTS.length - 1)
  expect(isEmptied).toBe(true)
  expect(commits.size).toBe(LINES)
  expect([...commits.values()].filter((count) => count !== 1)).toEqual([])
  expect(await readdir(join(directory, "100001"))).toHaveLength(LINES)
  const manifest = (await readManifest(store, started.id, never))!
  const place = { id: started.id, home: "100001", store }
  const report = await Array.fromAsync(readReport(access, place, manifest, never))
  expect(report.map(({ archiveId }) => archiveId)).toEqual(archives.map(({ archiveId }) => archiveId))
  const { committed, done } = countOutcomes(report)
  expect(committed + done).toBe(LINES)
})
