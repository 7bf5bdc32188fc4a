/** What a plan counts. Archives of a manifest are counted as often as it names them. */

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

/** A project's archives, each in one of these, but for `discarded`. */
export interface ProjectCounts {
  /** Their records say that they are decrypted. */
  done: number
  /** In the queue. */
  live: number
  dead: number
  /** Of those below, the ones whose dead letters were discarded within the last thirty days: a backfill enqueues them again. */
  discarded: number
  /** To be decrypted, from objects that can be read. */
  fresh: Work
  /** To be fetched from the vendor's storage, which does not tell sizes: the bytes are those that the manifest gives. */
  vendor: Work
  /** To be decrypted, once they are restored, by storage class. */
  archived: Record<string, Archived>
  /** The work of those. */
  restored: Work
  /** None of the keys holds an object. */
  missing: number
  /** A trouble kept them from being looked at. */
  unknown: number
}

/** A trouble that kept archives of a project from being looked at. */
export interface ProjectTrouble {
  readonly projectId: string
  readonly code: ErrorCode
  /** A clause without secrets. */
  readonly reason: string
  /** What to do about it, if more is known than the code says. */
  readonly remedy?: string
}

export interface PlanCounts {
  /** Archives that were named. */
  archives: number
  malformed: number
  /** The first of them, with the reason. */
  readonly malformedLines: { readonly line: number; readonly reason: string }[]
  /** Lines that ask for nothing, by why. */
  readonly ignored: Record<string, number>
  readonly projects: Record<string, ProjectCounts>
  /** Archives of projects that are not configured, by project: of the first hundred. */
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

/** The counts of a project, which begin at nothing. */
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
