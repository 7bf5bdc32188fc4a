import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs"
import { join } from "node:path"
import { queueStatus } from "@unseal/queue/status"
import { Redis } from "ioredis"
import type { Bench } from "../bench-context.ts"
import {
  CALLBACK_BYTES,
  CONNECTIONS,
  type LoadResult,
  prepareCallbacks,
  sendCallbacks,
} from "../callbacks.ts"
import { startIngest } from "../ingest-process.ts"
import { cpuSecondsOf } from "../measure.ts"
import { show, spreadOf } from "../statistics.ts"
import type { Chapter } from "./chapter.ts"

const TARGET_PER_SECOND = 9_000
const TARGET_P99_MS = 30

type Auth = "none" | "signed"

interface Figures extends LoadResult {
  readonly perSecond: number
  readonly cpuMs: number
}

export const ingest: Chapter = {
  name: "ingest",
  title: "Ingest",
  async run(bench) {
    const { quick, rounds } = bench.options
    const count = quick ? 5_000 : 50_000
    const figures: Record<Auth, Figures[]> = { none: [], signed: [] }
    const failures: string[] = []
    const processes = {
      none: await startIngest(bench, { queue: "bench-none", auth: "none" }),
      signed: await startIngest(bench, { queue: "bench-signed", auth: "signed" }),
    }
    try {
      // Round 0 warms up.
      for (let round = 0; round <= rounds; round++)
        for (const auth of ["none", "signed"] as const) {
          const { pid } = processes[auth]
          const callbacks = prepareCallbacks(bench, count)
          const before = cpuSecondsOf(pid)
          const result = await sendCallbacks(bench, processes[auth], callbacks)
          const cpuMs = (1_000 * (cpuSecondsOf(pid) - before)) / count
          rmSync(callbacks.file)
          failures.push(...(await notEnqueued(bench, `bench-${auth}`, count)))
          const perSecond = count / result.seconds
          bench.say(`  round ${round}: ${auth}: ${perSecond.toFixed(0)}/s, p99 ${result.p99Ms.toFixed(1)} ms`)
          if (round > 0) figures[auth].push({ ...result, perSecond, cpuMs })
        }
    } catch (error) {
      failures.push((error as Error).message)
    } finally {
      await Promise.all(Object.values(processes).map((process) => process.stop()))
    }

    const column = (auth: Auth, of: (figures: Figures) => number, digits: number) =>
      figures[auth].length > 0 ? show(spreadOf(figures[auth].map(of)), digits) : "failed"
    const medians = (auth: Auth) => ({
      perSecond: spreadOf(figures[auth].map(({ perSecond }) => perSecond)).median,
      p99Ms: spreadOf(figures[auth].map(({ p99Ms }) => p99Ms)).median,
    })
    const judged = (["none", "signed"] as const).filter((auth) => figures[auth].length > 0)
    return {
      conditions: `${count} callbacks of ${CALLBACK_BYTES} bytes over ${CONNECTIONS} connections, one ingest process, Redis with \`appendfsync always\` on the disk; every answer is a 202 and every job is found in the queue.`,
      columns: ["signature", "callbacks/s", "p50 ms", "p99 ms", "slowest ms", "CPU ms/callback"],
      rows: (["none", "signed"] as const).map((auth) => [
        auth === "none" ? "not verified" : "verified",
        column(auth, ({ perSecond }) => perSecond, 0),
        column(auth, ({ p50Ms }) => p50Ms, 1),
        column(auth, ({ p99Ms }) => p99Ms, 1),
        column(auth, ({ maxMs }) => maxMs, 0),
        column(auth, ({ cpuMs }) => cpuMs, 3),
      ]),
      targets: judged.map((auth) => {
        const { perSecond, p99Ms } = medians(auth)
        return {
          claim: `≥ ${TARGET_PER_SECOND}/s, p99 ≤ ${TARGET_P99_MS} ms, signature ${auth === "none" ? "not verified" : "verified"}`,
          measured: `${perSecond.toFixed(0)}/s, ${p99Ms.toFixed(1)} ms`,
          reached: perSecond >= TARGET_PER_SECOND && p99Ms <= TARGET_P99_MS,
        }
      }),
      settings: [
        ["ingest", processes.none.settings],
        ["disk", `fdatasync of 4 KiB in ${show(spreadOf(syncTimes(bench.diskDirectory)), 2)} ms`],
      ],
      failures,
    }
  },
}

/** Milliseconds that the disk takes to make 4 KiB durable: what Redis waits for before it acknowledges anything. */
function syncTimes(directory: string): number[] {
  const path = join(directory, "sync-probe")
  const file = openSync(path, "w")
  try {
    return Array.from({ length: 50 }, () => {
      writeSync(file, Buffer.alloc(4_096))
      const startedAt = performance.now()
      fdatasyncSync(file)
      return performance.now() - startedAt
    })
  } finally {
    closeSync(file)
    rmSync(path)
  }
}

/** Counts the jobs, then empties the queue: it is the bench's own Redis. */
async function notEnqueued(bench: Bench, queue: string, count: number): Promise<string[]> {
  const connection = new Redis((await bench.redis()).url)
  try {
    const { jobs } = await queueStatus(connection, queue)
    await connection.flushall()
    return jobs.waiting === count ? [] : [`${jobs.waiting} of ${count} jobs were in the queue`]
  } finally {
    connection.disconnect()
  }
}
