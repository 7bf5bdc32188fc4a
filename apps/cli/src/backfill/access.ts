/** What the commands of `unseal backfill` need: the queue, and the destinations of the projects, opened when they are needed. */
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import type { BackfillAccess } from "@unseal/operations/backfill/places"
import { env, readDestinationSettings } from "../config.ts"
import { withQueue } from "../queue/connection.ts"
import { UsageError } from "../terminal/exit.ts"
import { sayNotices } from "../terminal/store-notices.ts"

export interface CommandAccess extends BackfillAccess {
  readonly isProject: (projectId: string) => boolean
}

/** Runs `work`, and closes what it opened. Throws `ConfigurationError`, and what `withQueue` throws. */
export async function withBackfills<T>(
  work: (access: CommandAccess) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const { projects } = readDestinationSettings()
  const opened = new Map<string, Promise<OpenedStore>>()
  const openHome = async (projectId: string) => {
    const project = projects.get(projectId)
    if (project === undefined) throw new UsageError(`there is no project ${projectId}`)
    const { destination } = project
    const open = opened.get(destination) ?? openStore(destination, { env, onNotice: sayNotices(destination) })
    opened.set(destination, open)
    return open
  }
  const homes = new Map<string, string>()
  for (const id of projects.ids) {
    const { destination } = projects.get(id)!
    if (!homes.has(destination)) homes.set(destination, id)
  }
  try {
    return await withQueue(
      ({ connection, queue }) =>
        work({
          ...{ connection, queue, openHome, homes: [...homes.values()] },
          isProject: (id) => projects.get(id) !== undefined,
        }),
      signal,
    )
  } finally {
    for (const store of await Promise.allSettled(opened.values()))
      if (store.status === "fulfilled") await store.value.close()
  }
}
