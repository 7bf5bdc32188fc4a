import { inWorld, type Row, scaled } from "../row.ts"
import { LOCK_MS } from "../settings.ts"
import { readJobs } from "../world/jobs.ts"
import type { World } from "../world/world.ts"
import { slowSource } from "./signals.ts"

const MIB = 1024 * 1024
const BLOCK_MS = LOCK_MS + 1_500

/**
 * One worker with one archive in hand or with four, each of which takes longer than a lock holds; its event loop is blocked past
 * the lock. It is the only worker, so that it takes its own jobs again: where BullMQ's renewal by job id loses count. A block
 * past the lock costs every job in hand its lock, and so one more start: one for a block with one in hand, and one each with
 * four. A second one would be of a run that was not blocked.
 */
export const block: Row = {
  name: "block",
  fault: "event loop blocked past the lock",
  demand: "≤ 1 extra start per block, of each job that was in hand",
  run: (options) =>
    inWorld(options, { workers: 0 }, async (world) => {
      const blocks = scaled(10, options)
      const measured: string[] = []
      const failures: string[] = []
      for (const inHand of [1, 4]) {
        let extra = 0
        for (let index = 0; index < blocks; index++) {
          for (const { jobId, starts } of await blocked(world, inHand)) {
            extra += starts - 1
            if (starts > 2)
              failures.push(`${jobId} was started ${starts} times in a block with ${inHand} in hand`)
          }
        }
        measured.push(`${extra} extra starts in ${blocks} blocks with ${inHand} in hand`)
      }
      return { runs: `2 × ${blocks} blocks of ${BLOCK_MS} ms`, measured: measured.join(", "), failures }
    }),
}

/** The jobs that a worker had in hand, `inHand` of them, when its event loop was blocked in the midst of their parts. */
async function blocked(world: World, inHand: number): Promise<Awaited<ReturnType<typeof readJobs>>> {
  world.s3.faults.clear()
  slowSource(world, 1.5 * MIB)
  const archives = await Promise.all(Array.from({ length: inHand }, () => world.record(12 * MIB)))
  const worker = await world.startWorker({
    RIG_FAULT_POINT: `after-part:${world.random.integer(1, Math.min(3, inHand + 1))}:block=${BLOCK_MS}`,
  })
  const jobIds = new Set<string | undefined>()
  for (const archive of archives) jobIds.add((await world.call(archive)).jobId)
  await world.settled(90_000)
  await world.kill(worker, "SIGTERM")
  return (await readJobs(world)).filter(({ jobId }) => jobIds.has(jobId))
}
