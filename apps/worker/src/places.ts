import type { ByteBudget } from "@unseal/archive/decrypt/budget"
import { UnsealError } from "@unseal/archive/errors"
import { type KeyDirectory, openKeyDirectory } from "@unseal/archive/key-directory"
import { type OpenStoreOptions, openStore } from "@unseal/archive/store/open"
import { RequestLimit } from "@unseal/archive/store/request-limit"
import type { JobPayload } from "@unseal/queue/job"
import { fillKeyTemplate } from "@unseal/service/key-template"
import type { Logger } from "@unseal/service/logger"
import type { Projects, WorkerProject } from "@unseal/service/projects"
import type { Config } from "./config.ts"
import { whyIgnored } from "./ignored-key.ts"
import { createKeyLooks } from "./key-looks.ts"
import { openOnce } from "./open-once.ts"
import { createProjectBudgets } from "./project-budgets.ts"
import { opening } from "./sides.ts"
import { isAnswer, silenceOf } from "./silence.ts"
import type { StoreNotices } from "./store-notices.ts"

type OpenedStore = Awaited<ReturnType<typeof openStore>>

/** Where one archive comes from and goes to, and the keys that may fit: those of its own project, and of no other. */
export interface Place {
  readonly source: OpenedStore
  readonly destination: OpenedStore
  readonly sourceKeys: readonly string[]
  readonly destinationKey: string
  readonly keyRing: KeyDirectory
  /** Where its keys are, for messages. */
  readonly keysDir: string
  /** What the project may hold in memory. */
  readonly budget: ByteBudget
  /** To be called when the run has ended: a store that no project names any more is closed then. */
  release(): void
}

/** A key directory in use, and the projects that use it. */
export interface ProjectKeys {
  readonly projectIds: readonly string[]
  readonly keyRing: KeyDirectory
}

/** A store of a project that refused requests for their rate, and how many it gets at a time. */
export interface RequestLimitInForce {
  readonly projectId: string
  readonly side: "source" | "destination"
  readonly limit: number
}

/** The stores and keys of the projects as they are at the moment, each opened when it is first needed and then kept. */
export interface Places {
  /** `ERR_JOB_INVALID` for a project that is not configured; what can't be opened is an error with its side. */
  of(archive: Pick<JobPayload, "projectId" | "archiveId">): Promise<Place>
  /** The limits that stores have brought on themselves: requests in flight, by project and side. */
  requestLimits(): RequestLimitInForce[]
  /** The key directories that are open and can be read, looked at as `createKeyLooks` says. None is opened for it. */
  keys(): Promise<ProjectKeys[]>
  close(): Promise<void>
}

export interface PlacesOptions {
  readonly config: Pick<Config, "projects" | "settings" | "env">
  /** Shared by all projects. */
  readonly budget: ByteBudget
  readonly logger: Logger
  readonly onRetry: NonNullable<OpenStoreOptions["onRetry"]>
  readonly notices: StoreNotices
  readonly stores?: Pick<OpenStoreOptions, "idleTimeoutMs"> | undefined
}

export function openPlaces(options: PlacesOptions): Places {
  const { config, budget, logger, onRetry, notices } = options
  const { projects, settings } = config
  const budgets = createProjectBudgets(budget, settings.UNSEAL_PART_SIZE_BYTES)
  const configured = () => projects.ids.flatMap((id) => projects.get(id) ?? [])
  const logFailure = (err: unknown) => logger.warn({ err }, "store could not be closed")
  const limits = new Map<string, RequestLimit>()
  const stores = openOnce({
    async open(url) {
      const limit = new RequestLimit()
      limits.set(url, limit)
      const partSizeBytes = settings.UNSEAL_PART_SIZE_BYTES
      const store = await openStore(url, {
        ...{ ...options.stores, partSizeBytes, env: config.env, onNotice: notices(url), limit },
        onRetry(code) {
          if (isAnswer(code)) silenceOf(store).heard()
          onRetry(code)
        },
      })
      return store
    },
    close(store, url) {
      limits.delete(url)
      return store.close().catch(logFailure)
    },
    wanted: whenOthers(projects, () => new Set(configured().flatMap((one) => [one.source, one.destination]))),
  })
  const usersOf = whenOthers(projects, () => Map.groupBy(configured(), ({ keysDir }) => keysDir))
  const lookAtKeys = createKeyLooks()
  const keyRings = openOnce({
    async open(directory) {
      const keyRing = await openKeyDirectory(directory, { oaepHash: settings.UNSEAL_OAEP_HASH })
      for (const { name, error } of keyRing.unusable())
        logger.warn({ directory, file: name, err: error }, "key file can't be used")
      for (const file of keyRing.exposed())
        logger.warn({ directory, file }, "key file can be read by every user of this machine")
      for (const file of keyRing.ignored())
        logger.info({ directory, file }, `key directory: ${whyIgnored(file)}`)
      return keyRing
    },
    close: async () => {},
    wanted: whenOthers(projects, () => new Set(configured().map(({ keysDir }) => keysDir))),
  })

  return {
    async of({ projectId, archiveId }) {
      let project = projects.get(projectId)
      if (!project) {
        // Ingest, which accepted the callback, may have seen a new project first.
        await projects.refresh()
        project = projects.get(projectId)
      }
      if (!project) throw new UnsealError("ERR_JOB_INVALID", `project ${projectId} is not configured here`)
      const fill = (template: string) => fillKeyTemplate(template, { projectId, archiveId })
      const { source, destination, keysDir } = project
      const held = [stores.hold(source), stores.hold(destination), keyRings.hold(keysDir)] as const
      const release = () => {
        for (const one of held) one.release()
      }
      try {
        return {
          source: await opening("source", `the source of project ${projectId}`, held[0].opened),
          destination: await opening(
            "destination",
            `the destination of project ${projectId}`,
            held[1].opened,
          ),
          keyRing: await opening("keys", `key directory ${keysDir}`, held[2].opened),
          keysDir,
          sourceKeys: project.sourceKeys.map(fill),
          destinationKey: fill(project.destinationKey),
          budget: budgets.of(project),
          release,
        }
      } catch (error) {
        release()
        throw error
      }
    },
    requestLimits() {
      const inForce = new Set(
        [...limits].flatMap(([url, { limit }]) => (Number.isFinite(limit) ? [url] : [])),
      )
      if (inForce.size === 0) return []
      const all = configured().flatMap(({ id, source, destination }) => [
        { projectId: id, side: "source" as const, url: source },
        { projectId: id, side: "destination" as const, url: destination },
      ])
      return all.flatMap(({ url, ...of }) =>
        inForce.has(url) ? [{ ...of, limit: limits.get(url)!.limit }] : [],
      )
    },
    async keys() {
      const readable = await lookAtKeys(keyRings.open())
      return readable.flatMap(([directory, keyRing]) => {
        const users = usersOf().get(directory) ?? []
        return users.length === 0 ? [] : [{ projectIds: users.map(({ id }) => id), keyRing }]
      })
    },
    close: () => stores.close(),
  }
}

/** What `make` makes of all projects, made anew only when they have changed. */
function whenOthers<T>(projects: Pick<Projects<WorkerProject>, "ids">, make: () => T): () => T {
  let made: { readonly ids: readonly string[]; readonly value: T } | undefined
  return () => {
    if (made?.ids !== projects.ids) made = { ids: projects.ids, value: make() }
    return made.value
  }
}
