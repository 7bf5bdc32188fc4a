import { decryptArchive } from "@unseal/archive/decrypt/archive"
import { during } from "@unseal/archive/decrypt/steps"
import { AsyncHeld } from "@unseal/archive/held"
import { untilAborted } from "@unseal/archive/waiting"
import type { JobPayload } from "@unseal/queue/jobs/job"
import { laneOf } from "@unseal/queue/jobs/lane"
import type { JobContext } from "@unseal/queue/run/consumer"
import type { Logger } from "@unseal/service/log/logger"
import type { Settings } from "../config.ts"
import type { WorkerMetrics } from "../metrics.ts"
import type { RunTraces } from "../trace/runs.ts"
import type { Fallback } from "./fallback.ts"
import type { JobResult } from "./job-result.ts"
import type { ProjectResources } from "./project-resources.ts"
import { decorate, type RunDecorator } from "./run-decorator.ts"
import { withSides } from "./sides.ts"
import { secondsSinceCallback } from "./since-callback.ts"

export interface JobRunnerOptions {
  readonly settings: Settings
  readonly projectResources: ProjectResources
  readonly fallback: Fallback
  readonly metrics: WorkerMetrics
  readonly logger: Logger
  /** Wrapped around each run, the first one innermost. */
  readonly decorators: readonly RunDecorator[]
  readonly traces: RunTraces
}

/** Turns a job of the queue into a decryption. */
export function createJobRunner({
  settings,
  projectResources,
  fallback,
  metrics,
  logger,
  decorators,
  traces,
}: JobRunnerOptions) {
  const { within } = traces
  return traces.surround(async (payload: JobPayload, given: JobContext): Promise<JobResult> => {
    const { projectId, archiveId, encryptedPassword, size, sha256sum } = payload
    const { jobId, attempt, starts, signal } = given
    const line = { jobId, projectId, archiveId, attempt, starts, traceId: traces.traceIdOf(payload) }
    // A job that waits for its object starts every few seconds.
    if (starts > 1) logger.debug(line, "archive started again")
    else {
      if (laneOf(payload) === "live")
        metrics.startedAfter(secondsSinceCallback(payload), traces.exportedIdOf(payload))
      logger.info(line, "archive started")
    }

    const { begin: step, moved } = given.progress
    const exported = traces.exportedIdOf(payload)
    const part: typeof metrics.part = (stage, seconds, size) => metrics.part(stage, seconds, size, exported)
    const observe = { part, step, moved, ...(within && { within }) }
    const opened = await during(observe, "opening stores and keys", () => {
      const opening = projectResources.of(payload)
      return untilAborted(opening, signal).catch((error: unknown) => {
        opening.then(({ release }) => release()).catch(() => {})
        throw error
      })
    })
    // Whatever fails from here on must release the stores, or they are never closed.
    await using held = new AsyncHeld()
    held.defer(opened.release)
    const copy = fallback(withSides(opened, given), payload, given)
    held.defer(copy.close)
    const { resources, context } = decorate({ resources: copy.resources, context: given }, decorators)
    const { fence, checkpoint } = context
    const { keyRing, budget, release: _, ...where } = resources
    const { outcome, record } = await decryptArchive(
      {
        ...where,
        ...{ archiveId, projectId, encryptedPassword },
        announced: { ...(size !== undefined && { size }), ...(sha256sum && { sha256sum }) },
      },
      {
        ...{ keyRing, budget, checkpoint, fence, attempt, startedBefore: starts > 1 },
        tail: settings.UNSEAL_TAIL,
        digest: settings.UNSEAL_DIGEST,
        announcedDigest: settings.UNSEAL_ANNOUNCED_DIGEST,
        announcedSize: settings.UNSEAL_ANNOUNCED_SIZE,
        verify: settings.UNSEAL_VERIFY,
        maxDamage: settings.UNSEAL_MAX_DAMAGE / 100,
        existing: settings.UNSEAL_EXISTING,
        record: true,
        observe,
      },
      signal,
    )
    const { announced } = record
    if (announced?.fits === false && outcome !== "already-committed") {
      const sizes = { announcedSize: announced.size, sourceSize: record.source.size }
      logger.warn({ ...line, ...sizes }, "archive's size is not the one that its callback announced")
    }
    return {
      outcome,
      destinationKey: record.destination.key,
      size: record.destination.size,
      tail: record.tail.form,
      syncErrors: record.media.syncErrors,
      announcedSize: announced === undefined ? "absent" : announced.fits ? "fits" : "differs",
    }
  })
}
