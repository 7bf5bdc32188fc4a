import { type Job, type Processor, Worker, type WorkerOptions } from "bullmq"
import { DEFAULT_BULK_SHARE } from "../lanes/share.ts"
import { type BulkSlots, createBulkSlots } from "./bulk-slots.ts"
import { mendBackend } from "./worker-backend.ts"

const NOTHING_FOR_US_MS = 500

/**
 * When Redis refuses (OOM, READONLY), BullMQ's worker asks for the next job again at once, a thousand times a second. This one
 * pauses. And it keeps some slots for live jobs (bulk-slots.ts).
 */
export class PacedWorker extends Worker {
  readonly bulkSlots: BulkSlots
  /** The tokens of requests that take only a live job. */
  private readonly onlyLive = new Set<string>()

  /** Called whenever the queue has answered, with a job or without. */
  onPoll: () => void = () => {}

  /** The minimum percentage of the taken cost that the bulk lane gets (lanes/share.ts). */
  bulkShare = DEFAULT_BULK_SHARE

  /** Whether some jobs are not for this worker. Then `mayTake` is asked before it takes one. */
  isChoosy: () => boolean = () => false
  /** Whether a job in line is for this worker; with `onlyLive`, a live job. If so, that job is the next one. */
  mayTake: (onlyLive: boolean) => Promise<boolean> = async () => true

  constructor(name: string, processor: Processor, options: WorkerOptions) {
    super(name, processor, options)
    this.bulkSlots = createBulkSlots(this.concurrency)
    mendBackend(this, {
      bulkShare: () => this.bulkShare,
      takesLive: (token) => this.onlyLive.has(token),
      waitsForLive: () => this.bulkSlots.areFull,
    })
  }

  /** BullMQ's own throws if the data are not JSON, and leaves the job active until it has stalled too often. */
  protected override createJob(...[json, jobId]: Parameters<Worker["createJob"]>) {
    const job = this.readJob(json, jobId)
    this.bulkSlots.taken(job as unknown as Job)
    return job
  }

  private readJob(...[json, jobId]: Parameters<Worker["createJob"]>) {
    try {
      return super.createJob(json, jobId)
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      return super.createJob({ ...json, data: "{}" }, jobId)
    }
  }

  /** BullMQ's own takes the next job with the same command that ends this one. */
  override async processJob(job: Job, token: string, takesNext: () => boolean = () => true) {
    let asked = () => {}
    try {
      return await super.processJob(job, token, () => {
        this.bulkSlots.ended(job)
        asked()
        if (this.isChoosy() || this.bulkSlots.areFull || !takesNext()) return false
        asked = this.bulkSlots.ask()
        return true
      })
    } finally {
      this.bulkSlots.ended(job)
      asked()
    }
  }

  protected override async moveToActive(token: string, name?: string) {
    const onlyLive = this.bulkSlots.areFull
    const asked = onlyLive ? () => {} : this.bulkSlots.ask()
    if (onlyLive) this.onlyLive.add(token)
    try {
      if (this.isChoosy() && !(await this.mayTake(onlyLive))) {
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
    } finally {
      this.onlyLive.delete(token)
      asked()
    }
  }
}
