/** What a plan counts. An archive that the manifest names twice is counted twice. */

import type { ErrorCode } from "@unseal/archive/errors"

/** Archives, and the bytes of their objects. */
export interface Sized {
  archives: number
  bytes: number
}

/** Archives in one archival class. */
export interface Archived extends Sized {
  /** How many of them are on their way back already. */
  restoring: number
}

/** What a worker would have to do for archives. */
export interface Work extends Sized {
  /** Requests to the stores. */
  reads: number
  writes: number
}

/** A project's archives. Each is counted in exactly one field; `discarded` counts some of them again. */
export interface ProjectCounts {
  /** Their records say that they are decrypted. */
  done: number
  /** In the queue. */
  live: number
  dead: number
  /**
   * Archives, also counted below, whose dead letters were discarded within the last thirty days: a backfill enqueues them again.
   */
  discarded: number
  /** To be decrypted, from objects that can be read. */
  fresh: Work
  /** To be fetched from the vendor's storage, which does not state sizes. The bytes come from the manifest. */
  vendor: Work
  /** To be decrypted, once they are restored, by storage class. */
  archived: Record<string, Archived>
  /** The work of those. */
  restored: Work
  /** None of the keys holds an object. */
  missing: number
  /** They could not be looked at, because of a trouble. */
  unknown: number
}

/** Why archives of a project could not be looked at. */
export interface ProjectTrouble {
  readonly projectId: string
  readonly code: ErrorCode
  /** A clause without secrets. */
  readonly reason: string
  /** What to do about it, if more is known than the code says. */
  readonly remedy?: string
}

export interface PlanCounts {
  /** Archives in the manifest. */
  archives: number
  malformed: number
  /** The first of them, with the reason. */
  readonly malformedLines: { readonly line: number; readonly reason: string }[]
  /** Lines that start no work, by reason. */
  readonly ignored: Record<string, number>
  readonly projects: Record<string, ProjectCounts>
  /** Archives of projects that are not configured, by project, for the first hundred projects. */
  readonly unconfigured: Record<string, number>
  readonly troubles: ProjectTrouble[]
  /** Permissions whose lack may make an object look missing, by project. */
  readonly unseen: Record<string, string>
}

export const noWork = (): Work => ({ archives: 0, bytes: 0, reads: 0, writes: 0 })

export const noCounts = (): PlanCounts => ({
  ...{ archives: 0, malformed: 0, malformedLines: [], ignored: {} },
  ...{ projects: {}, unconfigured: {}, troubles: [], unseen: {} },
})

const noProject = (): ProjectCounts => ({
  ...{ done: 0, live: 0, dead: 0, discarded: 0, missing: 0, unknown: 0 },
  ...{ fresh: noWork(), vendor: noWork(), archived: {}, restored: noWork() },
})

/** The counts of a project, which begin at zero. */
export function countsOf(counts: PlanCounts, projectId: string): ProjectCounts {
  counts.projects[projectId] ??= noProject()
  return counts.projects[projectId]
}

/** The sum over all projects. */
export function totalOf({ projects }: Pick<PlanCounts, "projects">): ProjectCounts {
  const total = noProject()
  for (const one of Object.values(projects)) {
    for (const name of ["done", "live", "dead", "discarded", "missing", "unknown"] as const)
      total[name] += one[name]
    for (const name of ["fresh", "vendor", "restored"] as const) addWork(total[name], one[name])
    for (const [storageClass, archived] of Object.entries(one.archived))
      addArchived(total, storageClass, archived)
  }
  return total
}

export function addWork(to: Work, { archives, bytes, reads, writes }: Work): void {
  to.archives += archives
  to.bytes += bytes
  to.reads += reads
  to.writes += writes
}

export function addArchived(
  { archived }: Pick<ProjectCounts, "archived">,
  storageClass: string,
  { archives, bytes, restoring }: Archived,
): void {
  archived[storageClass] ??= { archives: 0, bytes: 0, restoring: 0 }
  const to = archived[storageClass]
  to.archives += archives
  to.bytes += bytes
  to.restoring += restoring
}
