import { Worker } from "bullmq"

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
