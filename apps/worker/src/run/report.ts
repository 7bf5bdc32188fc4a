import { type ErrorCode, isUnsealError } from "@unseal/archive/errors"
import { laneOf } from "@unseal/queue/jobs/lane"
import type { EndedRun } from "@unseal/queue/run/consumer"
import { FAILURES, type FailureCode, type WaitingCode } from "@unseal/queue/run/ending"
import { type Logger, rateLimited } from "@unseal/service/log/logger"
import type { WorkerMetrics } from "../metrics.ts"
import type { RunTraces } from "../trace/runs.ts"
import type { JobResult } from "./job-result.ts"
import { secondsSinceCallback } from "./since-callback.ts"

/** A late object causes a run every few seconds, and a store that is down causes one for every job. */
const REPEATED_LINES_PER_SECOND = 5

const WAITING_FOR: Record<WaitingCode, string> = {
  ERR_OBJECT_NOT_FOUND: "archive's object is not there yet",
  ERR_OBJECT_INCOMPLETE: "archive's object does not have the announced size yet",
  ERR_OBJECT_ARCHIVED: "archive's object is in an archival storage class",
}

/** Logged at the first miss, and each time the wait has doubled: seventeen times for an archive that is a day late. */
const isToldOf = (waitedMs: number, delayMs: number): boolean =>
  Math.floor(Math.log2(waitedMs / 1_000 + 1)) < Math.floor(Math.log2((waitedMs + delayMs) / 1_000 + 1))

/** The row of a failure's code, with this error's own remedy if it has one. */
const described = (code: FailureCode, error: unknown) => ({
  ...FAILURES[code],
  ...(isUnsealError(error, code as ErrorCode) && { remedy: error.remedy }),
})

/** Counts, times and logs the end of one run. */
export function createReport(
  metrics: WorkerMetrics,
  logger: Logger,
  { traceIdOf, exportedIdOf }: Pick<RunTraces, "traceIdOf" | "exportedIdOf">,
): (run: EndedRun<JobResult>) => void {
  const limited = rateLimited(logger, REPEATED_LINES_PER_SECOND)

  return ({ jobId, attempt, starts, payload, ending, error, durationMs }) => {
    const project = payload?.projectId ?? "unknown"
    const seconds = durationMs / 1_000
    const { projectId, archiveId } = payload ?? {}
    // A bulk archive's wait says nothing: it waits for live ones, and its callback may be years old.
    const isLive = laneOf(payload ?? {}) === "live"
    const line = { jobId, projectId, archiveId, attempt, seconds, traceId: traceIdOf(payload) }
    const exported = exportedIdOf(payload)
    switch (ending.kind) {
      case "committed": {
        const { outcome, ...result } = ending.result
        metrics.ended(project, outcome, "none")
        // An earlier run of this job had committed it, and died before it could say so.
        const ended = outcome !== "already-committed" ? outcome : starts > 1 ? "committed" : null
        if (isLive && ended !== null) metrics.endedAfter(ended, secondsSinceCallback(payload), exported)
        if (outcome !== "already-committed") {
          metrics.committed(seconds, result.tail, exported)
          metrics.announcedSize(result.announcedSize)
        }
        const megabytesPerSecond = seconds > 0 ? result.size / 1e6 / seconds : 0
        logger.info({ ...line, outcome, ...result, megabytesPerSecond }, "archive committed")
        break
      }
      case "dead-letter": {
        const { code, reason } = ending
        metrics.ended(project, "dead-letter", code)
        if (payload && isLive) metrics.endedAfter("dead-letter", secondsSinceCallback(payload), exported)
        if (code === "ERR_OBJECT_INCOMPLETE") metrics.announcedSize("differs")
        logger.error(
          { ...line, code, ...described(code, error), reason, err: error },
          "archive is a dead letter",
        )
        break
      }
      case "retry": {
        const { code, reason } = ending
        metrics.retried("job", code)
        const fields = { ...line, code, ...described(code, error), reason, err: error }
        limited("warn", code, fields, "archive failed and will be tried again")
        break
      }
      case "waiting": {
        const { code, reason, waitedMs, delayMs } = ending
        metrics.retried("job", code)
        const fields = { ...line, code, ...described(code, error), reason, waitedMs, delayMs }
        if (isToldOf(waitedMs, delayMs)) limited("info", code, fields, WAITING_FOR[code])
        break
      }
      case "suspended": {
        const { code, side, reason } = ending
        metrics.retried("job", code)
        limited("info", code, { ...line, code, side, reason }, "archive waits: its project is suspended")
        break
      }
      case "held":
        logger.debug(line, "archive waits: its project is suspended")
        break
      case "handed-back":
        metrics.ended(project, "handed-back", "none")
        logger.info(line, "archive handed back")
        break
      case "lock-lost":
        metrics.ended(project, "lock-lost", "none")
        logger.warn({ ...line, err: error }, "archive's lock was lost: another run has it")
        break
    }
  }
}
