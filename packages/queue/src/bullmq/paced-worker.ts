import { type Job, type Processor, Worker, type WorkerOptions } from "bullmq"
import { DEFAULT_BULK_SHARE, type LaneTurn } from "../lanes/share.ts"
import { mendBackend } from "./worker-backend.ts"

const NOTHING_FOR_US_MS = 500

/**
 * When Redis refuses (OOM, READONLY), BullMQ's worker asks for the next job again at once, a thousand times a second. This one
 * pauses.
 */
export class PacedWorker extends Worker {
  /** Called whenever the queue has answered, with a job or without. */
  onPoll: () => void = () => {}

  /** What the bulk lane gets, and whether this worker takes a bulk job now. */
  laneTurn: () => LaneTurn = () => ({ bulkShare: DEFAULT_BULK_SHARE, takesBulk: true })

  /** Whether some jobs are not for this worker. Then `mayTake` is asked before it takes one. */
  isChoosy: () => boolean = () => false
  /** Whether a job in line is for this worker. If so, it is the next one. */
  mayTake: () => Promise<boolean> = async () => true

  constructor(name: string, processor: Processor, options: WorkerOptions) {
    super(name, processor, options)
    mendBackend(this, () => this.laneTurn())
  }

  /** BullMQ's own throws if the data are not JSON, and leaves the job active until it has stalled too often. */
  protected override createJob(...[json, jobId]: Parameters<Worker["createJob"]>) {
    try {
      return super.createJob(json, jobId)
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      return super.createJob({ ...json, data: "{}" }, jobId)
    }
  }

  /** BullMQ's own takes the next job with the same command that ends this one. */
  override processJob(job: Job, token: string, takesNext: () => boolean = () => true) {
    return super.processJob(job, token, () => !this.isChoosy() && takesNext())
  }

  protected override async moveToActive(token: string, name?: string) {
    try {
      if (this.isChoosy() && !(await this.mayTake())) {
        if (!this.closing) await this.delay(NOTHING_FOR_US_MS)
        this.onPoll()
        return undefined as unknown as Job
      }
      const job = await super.moveToActive(token, name)
      this.onPoll()
      return job
    } catch (error) {
      if (!this.closing) await this.delay(1_000)
      throw error
    }
  }
}
