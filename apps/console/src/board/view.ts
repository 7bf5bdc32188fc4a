/** What bull-board may ask of the queue: counts, pages by rank, and single jobs. */
import {
  countStructures,
  type QueuedJob,
  readQueuedJobs,
  readStructure,
  type Structure,
} from "@unseal/queue/jobs/structures"
import { readPause } from "@unseal/queue/pause"
import type { RedisClient } from "@unseal/queue/redis/client"
import { readWorkers } from "@unseal/queue/workers"

export interface BoardView {
  readonly queue: string
  counts(): Promise<Readonly<Record<Structure, number>>>
  /** The jobs at the ranks `first` to `last`. */
  page(structure: Structure, first: number, last: number): Promise<readonly QueuedJob[]>
  job(jobId: string): Promise<QueuedJob | null>
  isPaused(): Promise<boolean>
  /** The connected workers. `null` if Redis does not say which are connected. */
  workers(): Promise<readonly { readonly name: string; readonly connectedSeconds: number }[] | null>
}

export const createBoardView = (connection: RedisClient, queue: string): BoardView => ({
  queue,
  counts: () => countStructures(connection, queue),
  page: (structure, first, last) => readStructure(connection, queue, structure, first, last),
  job: async (jobId) => (await readQueuedJobs(connection, queue, [jobId]))[0] ?? null,
  isPaused: async () => (await readPause(connection, queue)) !== null,
  async workers() {
    const { workers, unseen } = await readWorkers(connection, queue)
    if (unseen !== null) return null
    return workers.flatMap(({ name, connectedSeconds }) =>
      connectedSeconds === null ? [] : [{ name, connectedSeconds }],
    )
  },
})
