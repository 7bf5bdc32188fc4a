/**
 * Looks at one archive of a manifest: first at its job, then at its record, then at its object. It stops as soon as the state is
 * known.
 */
import type { Archival, ArchiveStore } from "@unseal/archive/store/contract"
import { wasDiscarded } from "@unseal/queue/dead-letters/discarded"
import { findJob } from "@unseal/queue/jobs/find-job"
import { jobIdOf } from "@unseal/queue/jobs/job"
import type { RedisClient } from "@unseal/queue/redis/client"
import { fillKeyTemplate } from "@unseal/service/projects/key-template"
import type { SubmittedArchive } from "../../submission/fields.ts"
import { isDone } from "../skip.ts"

/** Where a project's archives are. */
export interface PlannedProject {
  readonly id: string
  readonly source: string
  readonly destination: string
  /** Templates. */
  readonly sourceKeys: readonly string[]
  readonly destinationKey: string
}

/** The parts of a store that a plan uses. */
export type PlannedStore = Pick<ArchiveStore, "stat" | "open" | "missingPermission">

export interface LookPlaces {
  readonly connection: RedisClient
  readonly queue: string
  readonly project: PlannedProject
  readonly source: PlannedStore
  readonly destination: PlannedStore
}

/** The state of an archive. */
export type Verdict =
  | { readonly kind: "done" }
  | { readonly kind: "live" }
  | { readonly kind: "dead" }
  | {
      readonly kind: "to-do"
      /** Bytes. */
      readonly size: number
      /** Absent if it can be read at once. */
      readonly archival?: Archival
      readonly wasDiscarded: boolean
    }
  /** `permission`: the permission whose lack may be the reason. */
  | { readonly kind: "missing"; readonly permission: string | null; readonly wasDiscarded: boolean }

/** Throws what the stores and Redis throw. */
export async function lookAt(
  archive: SubmittedArchive,
  { connection, queue, project, source, destination }: LookPlaces,
  signal: AbortSignal,
): Promise<Verdict> {
  const jobId = jobIdOf(archive)
  const job = await findJob(connection, queue, jobId)
  if (job?.state === "live") return { kind: "live" }
  const key = fillKeyTemplate(project.destinationKey, archive)
  if ((await isDone(archive, destination, key, signal)) !== null) return { kind: "done" }
  if (job?.state === "dead") return { kind: "dead" }
  const discarded = await wasDiscarded(connection, queue, jobId)

  const keys =
    archive.sourceKey === undefined
      ? project.sourceKeys.map((template) => fillKeyTemplate(template, archive))
      : [archive.sourceKey]
  for (const sourceKey of keys) {
    const object = await source.stat(sourceKey, signal)
    if (object === null) continue
    const { size, archival } = object
    return { kind: "to-do", size, wasDiscarded: discarded, ...(archival !== undefined && { archival }) }
  }
  return {
    kind: "missing",
    permission: source.missingPermission?.() ?? null,
    wasDiscarded: discarded,
  }
}
