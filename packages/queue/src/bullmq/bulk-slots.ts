import type { Job } from "bullmq"
import { laneOf } from "../jobs/lane.ts"

/** The slots of one worker that bulk jobs may hold. The others wait for live jobs, so that one of those finds a slot at once. */
export interface BulkSlots {
  /** Whether the next job must be a live one. */
  readonly areFull: boolean
  /** How many slots bulk jobs hold. */
  readonly used: number
  /** Any job is being asked for, and may be a bulk one. Call the result when it is here and was `taken`, or none came. */
  ask(): () => void
  taken(job: Job): void
  /** May be called repeatedly. */
  ended(job: Job): void
}

/** A quarter of the slots are not for bulk jobs, and at least one. A worker with a single slot takes both. */
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
