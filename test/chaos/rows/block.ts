import { readJobs } from "../jobs.ts"
import { inWorld, type Row, scaled } from "../row.ts"
import { LOCK_MS } from "../settings.ts"
import { slowSource } from "./signals.ts"

const MIB = 1024 * 1024

/**
 * One worker, four archives at once, each of which takes longer than a lock holds; its event loop is blocked past the lock. It
 * is the only worker, so that it takes its own jobs again: where BullMQ's renewal by job id loses count. A block past the lock
 * costs every job in hand its lock, and so one more start each; a second one would be of a run that was not blocked.
 */
export const block: Row = {
  name: "block",
  fault: "event loop blocked past the lock",
  demand: "≤ 1 extra start of each job in hand per block",
  run: (options) =>
    inWorld(options, { workers: 0 }, async (world) => {
      const blocks = scaled(10, options)
      const failures: string[] = []
      let extra = 0
      for (let index = 0; index < blocks; index++) {
        world.s3.faults.clear()
        slowSource(world, 1.5 * MIB)
        const archives = await Promise.all([12, 12, 12, 12].map((size) => world.record(size * MIB)))
        const worker = await world.startWorker({
          UNSEAL_TEST_FAULT_POINT: `after-part:${world.random.integer(1, 3)}:block=${LOCK_MS + 1_500}`,
        })
        const jobIds = new Set<string | undefined>()
        for (const archive of archives) jobIds.add((await world.call(archive)).jobId)
        await world.settled(90_000)
        for (const { jobId, starts } of await readJobs(world)) {
          if (!jobIds.has(jobId)) continue
          extra += starts - 1
          if (starts > 2) failures.push(`${jobId} was started ${starts} times`)
        }
        await world.kill(worker, "SIGTERM")
      }
      return {
        runs: `${blocks} blocks of ${LOCK_MS + 1_500} ms with 4 jobs in hand`,
        measured: `${extra} extra starts of ${4 * blocks} jobs in hand`,
        failures,
      }
    }),
}
