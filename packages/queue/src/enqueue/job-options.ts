/**
 * The options of every job, whatever its own in Redis are, because those may have been tampered with, or torn. A dead letter
 * stays. A completed job is remembered for an hour, without its secrets (worker-backend.ts). The worker's own setting decides
 * how often a job is tried.
 */
export const JOB_OPTIONS = {
  backoff: { type: "unseal" },
  removeOnComplete: { age: 3_600, limit: 100 },
  removeOnFail: false,
  // The reason says what is needed. Stack traces would fill Redis.
  stackTraceLimit: 0,
} as const
