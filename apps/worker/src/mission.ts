import { type DecryptResult, decryptArchive } from "@unseal/archive/decrypt"
import type { JobContext } from "@unseal/queue/consumer"
import type { JobPayload } from "@unseal/queue/job"
import { type Logger, rateLimited } from "@unseal/service/logger"
import type { Settings } from "./config.ts"
import type { Fallback } from "./fallback.ts"
import type { ANNOUNCED_SIZES, WorkerMetrics } from "./metrics.ts"
import type { Places } from "./places.ts"
import type { Rig } from "./rig/rig.ts"

/** What is kept of a committed archive with its job, and logged. */
export type MissionResult = {
  readonly outcome: DecryptResult["outcome"]
  readonly destinationKey: string
  /** Bytes of plaintext. */
  readonly size: number
  readonly tail: DecryptResult["record"]["tail"]["form"]
  readonly syncErrors: number
  readonly announcedSize: (typeof ANNOUNCED_SIZES)[number]
}

export interface MissionOptions {
  readonly settings: Settings
  readonly places: Places
  readonly fallback: Fallback
  readonly metrics: WorkerMetrics
  readonly logger: Logger
  /** Only in tests of Unseal itself. */
  readonly rig?: Rig
}

/** A job of the queue becomes a decryption. */
export function createMission({ settings, places, fallback, metrics, logger, rig }: MissionOptions) {
  const limited = rateLimited(logger, 5)

  return async (payload: JobPayload, given: JobContext): Promise<MissionResult> => {
    const { projectId, archiveId, encryptedPassword, size, sha256sum } = payload
    const { jobId, attempt, starts, signal } = given
    const line = { jobId, projectId, archiveId, attempt, starts }
    // A job that waits for its object starts every few seconds.
    if (starts > 1) limited("info", "again", line, "archive started again")
    else logger.info(line, "archive started")

    const surroundings = { place: fallback(await places.of(payload), payload), context: given }
    const { place, context } = rig ? rig.around(surroundings) : surroundings
    const { fence, checkpoint } = context
    const { keyRing, budget, release, ...where } = place
    const { outcome, record } = await decryptArchive(
      {
        ...where,
        ...{ archiveId, projectId, encryptedPassword },
        announced: { ...(size !== undefined && { size }), ...(sha256sum && { sha256sum }) },
      },
      {
        ...{ keyRing, budget, checkpoint, fence, attempt },
        // What fails for the last time leaves nothing for a next run to find.
        keepUpload: attempt < settings.UNSEAL_ATTEMPTS,
        tail: settings.UNSEAL_TAIL,
        digest: settings.UNSEAL_DIGEST,
        announcedDigest: settings.UNSEAL_ANNOUNCED_DIGEST,
        announcedSize: settings.UNSEAL_ANNOUNCED_SIZE,
        existing: settings.UNSEAL_EXISTING,
        record: true,
        observe: { part: metrics.part },
      },
      signal,
    ).finally(release)
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
  }
}
