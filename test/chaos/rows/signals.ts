/** Signals that a worker survives, or that end it in its own time. */

import { inWorld, type Row, type RowOptions, scaled, until } from "../row.ts"
import { countActive, readJobs } from "../world/jobs.ts"
import type { World } from "../world/world.ts"
import { feed } from "./kill.ts"

const MIB = 1024 * 1024

/** Sends SIGTERM to one worker after another while all have work. Each is replaced. */
export const sigterm: Row = {
  name: "sigterm",
  fault: "SIGTERM under load",
  demand: "100: exit ≤ 5 s, code 0, no attempt or stall used",
  run: (options) => restarts(options, 100, 2),
}

export const rollingRestart: Row = {
  name: "rolling-restart",
  fault: "rolling restart of all workers under load",
  demand: "0 stalls; every output correct",
  run: (options) => restarts(options, 20, 4),
}

const EXIT_MS = 5_000

/** Slows the reader down, so that a worker that ends always has work in progress. */
function restarts(options: RowOptions, count: number, workers: number) {
  return inWorld(options, { workers }, async (world) => {
    const terms = scaled(count, options, 2)
    slowSource(world, 4 * MIB)
    // Enough to keep all workers busy until the last of them is told to end.
    const archives = terms * workers * 2 + 8
    const feeding = feed(world, archives, 11)
    let slowest = 0
    const failures: string[] = []
    for (let index = 0; index < terms; index++) {
      await until("work in hand", 60_000, async () => (await countActive(world)) >= 2)
      const worker = world.random.pick(world.workers)
      const replacement = world.startWorker()
      world.fault("SIGTERM", worker.name)
      const before = performance.now()
      worker.kill("SIGTERM")
      const code = await worker.exited
      const ms = performance.now() - before
      slowest = Math.max(slowest, ms)
      if (code !== 0) failures.push(`${worker.name} ended with ${code}`)
      if (ms > EXIT_MS) failures.push(`${worker.name} took ${Math.round(ms)} ms to end`)
      await replacement
    }
    world.s3.faults.clear()
    await feeding
    await world.settled(120_000)
    const jobs = await readJobs(world)
    const used = jobs.filter(({ stalls, attempts }) => stalls > 0 || attempts > 1)
    for (const { jobId, stalls, attempts } of used)
      failures.push(`${jobId} has ${stalls} stalls and ${attempts} attempts`)
    const again = jobs.reduce((sum, { starts }) => sum + starts - 1, 0)
    return {
      runs: `${terms} SIGTERM over ${archives} archives`,
      measured: `slowest exit ${Math.round(slowest)} ms, ${again} hand-backs, ${used.length} jobs with a stall or a failed attempt`,
      failures,
    }
  })
}

/** Slows down every part of a source. */
export function slowSource(world: World, bytesPerSecond: number): void {
  world.s3.faults.add({
    operation: "GetObject",
    key: /^\d/,
    times: Number.POSITIVE_INFINITY,
    action: { throttleBytesPerSecond: bytesPerSecond },
  })
}
