import { Worker } from "bullmq"
import type { RedisOptions } from "ioredis"

/** BullMQ waits on its connections without limit, by design: whatever limits the given one has must not apply. */
export const PATIENT: Partial<RedisOptions> = {
  lazyConnect: false,
  enableOfflineQueue: true,
  maxRetriesPerRequest: null,
  autoResendUnfulfilledCommands: true,
  commandTimeout: undefined,
  // Longer than BullMQ's longest blocking command: only a connection that has silently died is given up.
  socketTimeout: 20_000,
  connectTimeout: 5_000,
  retryStrategy: (times) => Math.min(100 * 2 ** times, 2_000),
}

/** BullMQ's worker asks for the next job again at once when Redis refuses (OOM, READONLY): a thousand times a second. */
export class PacedWorker extends Worker {
  /** Called whenever the queue has answered, with a job or without. */
  onPoll: () => void = () => {}

  protected override async moveToActive(token: string, name?: string) {
    try {
      const job = await super.moveToActive(token, name)
      this.onPoll()
      return job
    } catch (error) {
      if (!this.closing) await this.delay(1_000)
      throw error
    }
  }
}
