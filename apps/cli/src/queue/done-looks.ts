import { isUnsealError } from "@unseal/archive/errors"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { type ClaimedArchive, isDone } from "@unseal/operations/backfill/skip"
import { fillKeyTemplate } from "@unseal/service/projects/key-template"
import type { Projects, StoresProject } from "@unseal/service/projects/projects"
import { env } from "../config.ts"
import { sayNotices } from "../terminal/store-notices.ts"

/** Looks at destinations to see whether archives are done. */
export interface DoneLooks {
  /** Whether the destination has a record of the archive. `false` if that is unknown. */
  isDone(archive: ClaimedArchive, signal: AbortSignal): Promise<boolean>
  close(): Promise<void>
}

/**
 * Opens each project's destination when it is first looked at. A destination that can't be looked at is reported once, by `say`,
 * and then left alone: a worker also finds out what is done. Without `projects` nothing is looked at.
 */
export function openDoneLooks(
  projects: Projects<StoresProject> | undefined,
  say: (line: string) => void,
): DoneLooks {
  const stores = new Map<string, Promise<OpenedStore>>()
  const blind = new Set<string>()
  return {
    async isDone(archive, signal) {
      const { projectId, archiveId } = archive
      const project = projects?.get(projectId)
      const url = project?.destination
      if (project === undefined || url === undefined || blind.has(projectId)) return false
      try {
        const opening = stores.get(url) ?? openStore(url, { env, onNotice: sayNotices(url) })
        stores.set(url, opening)
        const key = fillKeyTemplate(project.destinationKey, { projectId, archiveId })
        return (await isDone(archive, await opening, key, signal)) !== null
      } catch (error) {
        if (!isUnsealError(error)) throw error
        if (!blind.has(projectId))
          say(
            `the destination of project ${projectId} can't be looked at (${error.code}: ${error.message}): archives that are done there are enqueued too, and a worker will find them done; ${error.remedy}`,
          )
        blind.add(projectId)
        return false
      }
    },
    async close() {
      for (const opening of stores.values()) await opening.then((store) => store.close()).catch(() => {})
    },
  }
}
