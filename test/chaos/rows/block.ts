import { inWorld, type Row, scaled } from "../row.ts"
import { LOCK_MS } from "../settings.ts"
import { readJobs } from "../world/jobs.ts"
import type { World } from "../world/world.ts"
import { slowSource } from "./signals.ts"

const MIB = 1024 * 1024
const BLOCK_MS = LOCK_MS + 1_500

/**
 * One worker runs one archive, or four, each longer than a lock lasts. Its event loop is blocked past the lock. Being the only
 * worker, it takes its own jobs again, where BullMQ's renewal by job id loses count. Such a block costs every running job its
 * lock, hence one more start: one in all with one archive, and one each with four. A second start would mean that a run
 * without a block lost its lock.
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

/** Blocks a worker's event loop while it transfers parts of `inHand` jobs. Resolves to those jobs. */
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
