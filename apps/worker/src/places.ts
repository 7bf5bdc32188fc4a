import { UnsealError } from "@unseal/archive/errors"
import { type KeyDirectory, openKeyDirectory } from "@unseal/archive/key-directory"
import { type OpenStoreOptions, openStore } from "@unseal/archive/store/open"
import type { JobPayload } from "@unseal/queue/job"
import type { Logger } from "@unseal/service/logger"
import type { WorkerProject } from "@unseal/service/projects"
import type { Config } from "./config.ts"

type OpenedStore = Awaited<ReturnType<typeof openStore>>

/** Where one archive comes from and goes to, and the keys that may fit. */
export interface Place {
  readonly source: OpenedStore
  readonly destination: OpenedStore
  readonly sourceKeys: readonly string[]
  readonly destinationKey: string
  readonly keyRing: KeyDirectory
}

/** The stores and keys of the projects, each opened when it is first needed and then kept. */
export interface Places {
  /** `ERR_JOB_INVALID` for a project that is not configured. */
  of(archive: Pick<JobPayload, "projectId" | "archiveId">): Promise<Place>
  /** Why an archive of some project could not be decrypted now: one clause for each project without a usable key. */
  unready(): Promise<string[]>
  close(): Promise<void>
}

export function openPlaces(
  config: Config,
  logger: Logger,
  onRetry: NonNullable<OpenStoreOptions["onRetry"]>,
): Places {
  const { projects, settings } = config
  const stores = onceForEach((url) =>
    openStore(url, { partSizeBytes: settings.UNSEAL_PART_SIZE_BYTES, env: config.env, onRetry }),
  )
  const keyRings = onceForEach(async (directory) => {
    const keyRing = await openKeyDirectory(directory, { oaepHash: settings.UNSEAL_OAEP_HASH })
    for (const { name, error } of keyRing.unusable())
      logger.warn({ directory, file: name, err: error }, "key file can't be used")
    return keyRing
  })

  return {
    async of({ projectId, archiveId }) {
      const project = projects.get(projectId)
      if (!project) throw new UnsealError("ERR_JOB_INVALID", `project ${projectId} is not configured here`)
      const fill = (template: string) =>
        template.replaceAll("{projectId}", projectId).replaceAll("{archiveId}", archiveId)
      const [source, destination, keyRing] = await Promise.all([
        stores.get(project.source),
        stores.get(project.destination),
        keyRings.get(project.keysDir),
      ])
      const sourceKeys = project.sourceKeys.map(fill)
      return { source, destination, keyRing, sourceKeys, destinationKey: fill(project.destinationKey) }
    },
    async unready() {
      const configured = projects.ids.flatMap((id) => projects.get(id) ?? [])
      return (await Promise.all(configured.map(unusable))).flat()
    },
    async close() {
      for (const store of await stores.opened()) await store.close()
    },
  }

  async function unusable({ id, keysDir }: WorkerProject): Promise<string[]> {
    try {
      const keyRing = await keyRings.get(keysDir)
      if (keyRing.describe().length === 0) await keyRing.refresh()
      return keyRing.describe().length > 0 ? [] : [`project ${id} has no usable key in ${keysDir}`]
    } catch (error) {
      return [`project ${id}: ${(error as Error).message}`]
    }
  }
}

/** Opens what `name` stands for once, however many ask; after a failure, anew. Projects with the same store share it. */
function onceForEach<T>(open: (name: string) => Promise<T>) {
  const opened = new Map<string, Promise<T>>()
  return {
    get(name: string): Promise<T> {
      let one = opened.get(name)
      if (!one) {
        one = open(name)
        opened.set(name, one)
        one.catch(() => opened.delete(name))
      }
      return one
    },
    opened: async (): Promise<T[]> =>
      (await Promise.allSettled(opened.values())).flatMap((each) =>
        each.status === "fulfilled" ? [each.value] : [],
      ),
  }
}
