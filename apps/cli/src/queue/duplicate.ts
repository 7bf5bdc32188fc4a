import { counted } from "@unseal/archive/counted"
import type { ArchiveJob } from "@unseal/queue/jobs/archive-jobs"

/** The job that a callback duplicates, as a clause, and what to do if that is not enough. */
export function describeDuplicate({ state, since, attempts, jobId }: ArchiveJob): string {
  if (state === "completed") return `committed ${since}; --again decrypts it once more`
  if (state === "dead")
    return `a dead letter since ${since}; give it a new life with unseal queue redrive --id ${jobId}`
  const tried = attempts === 0 ? "" : `, ${counted(attempts, "attempt")} so far`
  return `${state} since ${since}${tried}`
}
