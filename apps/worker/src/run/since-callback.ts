import type { JobPayload } from "@unseal/queue/jobs/job"

/** Seconds since the callback of a job arrived, by the clocks of this machine and of ingest's; never below 0. */
export const secondsSinceCallback = (payload: Pick<JobPayload, "receivedAt"> | undefined): number =>
  Math.max(0, Date.now() - Date.parse(payload?.receivedAt ?? "")) / 1_000 || 0
