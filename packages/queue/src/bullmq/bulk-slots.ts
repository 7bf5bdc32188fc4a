import type { Job } from "bullmq"
import { laneOf } from "../jobs/lane.ts"

/**
 * The slots of one worker that bulk jobs may hold. The other slots wait for live jobs, so that a live job finds a slot at once.
 */
export interface BulkSlots {
  /** Whether the next job must be a live one. */
  readonly areFull: boolean
  /** How many slots bulk jobs hold. */
  readonly used: number
  /**
   * A job of any lane is being requested, so it may be a bulk job. Call the result once the job is `taken`, or once it is clear
   * that none came.
   */
  ask(): () => void
  taken(job: Job): void
  /** May be called repeatedly. */
  ended(job: Job): void
}

/** A quarter of the slots, and at least one, are not for bulk jobs. A worker with a single slot takes both. */
export const bulkSlotsOf = (concurrency: number): number =>
  concurrency === 1 ? 1 : concurrency - Math.max(1, Math.floor(concurrency / 4))

export function createBulkSlots(concurrency: number): BulkSlots {
  const most = concurrency === 1 ? Number.POSITIVE_INFINITY : bulkSlotsOf(concurrency)
  const jobs = new Set<Job>()
  let asking = 0
  return {
    get areFull() {
      return jobs.size + asking >= most
    },
    get used() {
      return jobs.size
    },
    ask() {
      asking++
      let isOpen = true
      return () => {
        if (isOpen) asking--
        isOpen = false
      }
    },
    taken(job) {
      // The data of a damaged job may be anything.
      if (laneOf(Object(job.data)) === "bulk") jobs.add(job)
    },
    ended(job) {
      jobs.delete(job)
    },
  }
}
