import { type Processor, Worker, type WorkerOptions } from "bullmq"
import { mendBackend } from "./worker-backend.ts"

/** BullMQ's worker asks for the next job again at once when Redis refuses (OOM, READONLY): a thousand times a second. */
export class PacedWorker extends Worker {
  /** Called whenever the queue has answered, with a job or without. */
  onPoll: () => void = () => {}

  constructor(name: string, processor: Processor, options: WorkerOptions) {
    super(name, processor, options)
    mendBackend(this)
  }

  /** BullMQ's throws when the data are not JSON, and leaves the job active until it has stalled too often. */
  protected override createJob(...[json, jobId]: Parameters<Worker["createJob"]>) {
    try {
      return super.createJob(json, jobId)
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      return super.createJob({ ...json, data: "{}" }, jobId)
    }
  }

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
