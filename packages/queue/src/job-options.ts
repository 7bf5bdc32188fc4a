/**
 * What becomes of every job, whatever options it holds in Redis: those may have been tampered with, or torn. A dead letter
 * stays; a completed job is remembered for an hour, without its secrets (worker-backend.ts). How often a job is tried is the
 * setting of the worker that runs it.
 */
export const JOB_OPTIONS = {
  backoff: { type: "unseal" },
  removeOnComplete: { age: 3_600, limit: 100 },
  removeOnFail: false,
  // The reason says what is needed; stack traces would fill Redis.
  stackTraceLimit: 0,
} as const
