/** Waits for replicas: a failover loses what a master has acknowledged and no replica has. */
import { withDeadline } from "@unseal/archive/waiting"
import { queueKey, queuePrefix } from "../names.ts"
import { duplicate, type RedisClient } from "../redis/client.ts"

/** Longer than a replica that works takes, and within the time that a sender of callbacks waits. */
const WAIT_MS = 900
const ANSWER_MS = 1_900

export interface ReplicaWaitOptions {
  /** The connection that added the jobs. The wait has one of its own, because WAIT blocks the commands behind it. */
  readonly connection: RedisClient
  readonly queue: string
  /** How many replicas must have a job. */
  readonly replicas: number
}

/** Too few replicas have the job. The message holds no secret. */
export class ReplicasMissingError extends Error {
  override readonly name = "ReplicasMissingError"
}

export interface ReplicaWait {
  /**
   * Resolves when enough replicas have the job, which Redis must have acknowledged before the call. Rejects within four
   * seconds if they don't, or if a failover has lost it meanwhile. Calls that come during a wait share the next one.
   */
  until(jobId: string): Promise<void>
  close(): void
}

interface Call {
  readonly jobId: string
  resolve(): void
  reject(error: unknown): void
}

export function createReplicaWait({ connection, queue, replicas }: ReplicaWaitOptions): ReplicaWait {
  const client = duplicate(connection)
  // The commands reject too, and the connection that adds the jobs is the one that is logged.
  client.on("error", () => {})
  let calls: Call[] = []
  let runs = false

  /** WAIT covers only what its own connection has written, and all that its master acknowledged before. */
  async function lookAt(jobIds: readonly string[]): Promise<boolean[]> {
    const marker = `${queuePrefix(queue)}:replicated`
    // Outside the pipeline, because only such a command updates a client's outdated map of a Cluster's slots.
    await client.set(marker, 1, "PX", 1)
    const look = client.pipeline().set(marker, 1, "PX", 1).wait(replicas, WAIT_MS)
    // Another master may have taken over since the jobs were acknowledged.
    for (const jobId of jobIds) look.exists(queueKey(queue, jobId))
    const [, reached, ...found] = ((await look.exec()) ?? []).map(([error, value]) => {
      if (error) throw error
      return value as number
    })
    if (reached === undefined || reached < replicas)
      throw new ReplicasMissingError(
        `${reached ?? 0} of ${replicas} replicas of redis had the job within ${WAIT_MS} ms; check the replicas, or lower UNSEAL_REDIS_REPLICAS`,
      )
    return found.map(Boolean)
  }

  async function run(): Promise<void> {
    runs = true
    while (calls.length > 0) {
      const batch = calls
      calls = []
      try {
        const tooLate = () => new ReplicasMissingError(`redis did not answer within ${ANSWER_MS} ms`)
        const found = await withDeadline(lookAt(batch.map(({ jobId }) => jobId)), ANSWER_MS, tooLate)
        for (const [index, { jobId, resolve, reject }] of batch.entries())
          if (found[index]) resolve()
          else reject(new ReplicasMissingError(`a failover of redis lost job ${jobId}`))
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    runs = false
  }

  return {
    until: (jobId) =>
      new Promise((resolve, reject) => {
        calls.push({ jobId, resolve, reject })
        if (!runs) void run()
      }),
    close: () => client.disconnect(),
  }
}
