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
import { startIngest, startPeerIngest } from "../ingest-process.ts"
import { cpuSecondsOf } from "../measure.ts"
import { show, spreadOf } from "../statistics.ts"
import type { Chapter } from "./chapter.ts"

const TARGET_PER_SECOND = 9_000
const TARGET_P99_MS = 30

const CONTENDERS = {
  peer: "Express and `queue.add` of BullMQ",
  none: "**ingest**, signature not verified",
  signed: "**ingest**, signature verified",
} as const
type Name = keyof typeof CONTENDERS
const NAMES = Object.keys(CONTENDERS) as Name[]

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
    const figures: Record<Name, Figures[]> = { peer: [], none: [], signed: [] }
    const failures: string[] = []
    const processes = {
      peer: await startPeerIngest(bench, "bench-peer"),
      none: await startIngest(bench, { queue: "bench-none", auth: "none" }),
      signed: await startIngest(bench, { queue: "bench-signed", auth: "signed" }),
    }
    try {
      // Round 0 warms up.
      for (let round = 0; round <= rounds; round++)
        for (const name of NAMES) {
          const { pid } = processes[name]
          const callbacks = prepareCallbacks(bench, count)
          const before = cpuSecondsOf(pid)
          const result = await sendCallbacks(bench, processes[name], callbacks)
          const cpuMs = (1_000 * (cpuSecondsOf(pid) - before)) / count
          rmSync(callbacks.file)
          failures.push(...(await notEnqueued(bench, `bench-${name}`, count)))
          const perSecond = count / result.seconds
          bench.say(`  round ${round}: ${name}: ${perSecond.toFixed(0)}/s, p99 ${result.p99Ms.toFixed(1)} ms`)
          if (round > 0) figures[name].push({ ...result, perSecond, cpuMs })
        }
    } catch (error) {
      failures.push((error as Error).message)
    } finally {
      await Promise.all(Object.values(processes).map((process) => process.stop()))
    }
    return {
      conditions: `${count} callbacks of ${CALLBACK_BYTES} bytes over ${CONNECTIONS} connections, one process, Redis with \`appendfsync always\` on the disk; every answer is a 202 and every job is found in the queue. ${rounds} interleaved rounds, median (range).`,
      ...report(figures),
      settings: [
        ["Express and BullMQ", processes.peer.settings],
        ["ingest", processes.none.settings],
        ["disk", `fdatasync of 4 KiB in ${show(spreadOf(syncTimes(bench.diskDirectory)), 2)} ms`],
      ],
      failures,
    }
  },
}

function report(figures: Readonly<Record<Name, readonly Figures[]>>) {
  const spread = (name: Name, of: (figures: Figures) => number) => spreadOf(figures[name].map(of))
  const complete = Math.min(...NAMES.map((name) => figures[name].length))
  const ratio = (name: Name) =>
    spreadOf(
      figures[name]
        .slice(0, complete)
        .map(({ perSecond }, round) => perSecond / figures.peer[round]!.perSecond),
    )
  const judged = (["none", "signed"] as const).filter((name) => figures[name].length > 0)
  return {
    columns: [
      "",
      "callbacks/s",
      "p50 ms",
      "p99 ms",
      "slowest ms",
      "CPU ms/callback",
      "the peer's callbacks/s",
    ],
    rows: NAMES.map((name) =>
      figures[name].length === 0
        ? [CONTENDERS[name], "failed", "", "", "", "", ""]
        : [
            CONTENDERS[name],
            show(
              spread(name, ({ perSecond }) => perSecond),
              0,
            ),
            show(
              spread(name, ({ p50Ms }) => p50Ms),
              1,
            ),
            show(
              spread(name, ({ p99Ms }) => p99Ms),
              1,
            ),
            show(
              spread(name, ({ maxMs }) => maxMs),
              0,
            ),
            show(
              spread(name, ({ cpuMs }) => cpuMs),
              3,
            ),
            name === "peer" || complete === 0 ? "" : `${show(ratio(name), 2)}×`,
          ],
    ),
    targets: judged.map((name) => {
      const perSecond = spread(name, (one) => one.perSecond).median
      const p99Ms = spread(name, (one) => one.p99Ms).median
      return {
        claim: `≥ ${TARGET_PER_SECOND}/s, p99 ≤ ${TARGET_P99_MS} ms, signature ${name === "none" ? "not verified" : "verified"}`,
        measured: `${perSecond.toFixed(0)}/s, ${p99Ms.toFixed(1)} ms`,
        reached: perSecond >= TARGET_PER_SECOND && p99Ms <= TARGET_P99_MS,
      }
    }),
  }
}

/** Milliseconds that the disk takes to make 4 KiB durable. Redis waits that long before it acknowledges anything. */
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

/** Counts the jobs, then empties the queue. */
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
