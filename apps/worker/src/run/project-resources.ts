import type { ByteBudget, MeasuredBudget } from "@unseal/archive/decrypt/budget"
import { UnsealError } from "@unseal/archive/errors"
import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import { type OpenKeyRingOptions, openKeyRing } from "@unseal/archive/keys/open"
import { type OpenStoreOptions, openStore } from "@unseal/archive/store/open"
import { RequestLimit } from "@unseal/archive/store/requests/limit"
import type { JobPayload } from "@unseal/queue/jobs/job"
import { laneOf } from "@unseal/queue/jobs/lane"
import type { Logger } from "@unseal/service/log/logger"
import { fillKeyTemplate } from "@unseal/service/projects/key-template"
import type { Projects, WorkerProject } from "@unseal/service/projects/projects"
import type { Config } from "../config.ts"
import { createKeyLooks } from "../keys/looks.ts"
import { createKeyNotices } from "../keys/notices.ts"
import { type RequestMetrics, sideOf } from "../watch/request-metrics.ts"
import type { StoreNotices } from "../watch/store-notices.ts"
import { createProjectBudgets } from "./project-budgets.ts"
import { createSharedPool } from "./shared-pool.ts"
import { opening } from "./sides.ts"
import { isAnswer, silenceOf } from "./silence.ts"

type OpenedStore = Awaited<ReturnType<typeof openStore>>

/** Where one archive comes from and goes to, and the keys that may fit: only those of its own project. */
export interface JobResources {
  readonly source: OpenedStore
  readonly destination: OpenedStore
  readonly sourceKeys: readonly string[]
  readonly destinationKey: string
  readonly keyRing: OpenedKeyRing
  /** The memory that the project may use, as the archive's lane gets it. */
  readonly budget: ByteBudget
  /** Must be called when the run has ended. Then a store that no project names any more is closed. */
  release(): void
}

/** What an archive needs of its project: each side as it opened, or the error with its side. */
export interface OpenedSides extends Pick<JobResources, "sourceKeys" | "destinationKey" | "release"> {
  readonly project: WorkerProject
  readonly source: PromiseSettledResult<OpenedStore>
  readonly destination: PromiseSettledResult<OpenedStore>
  readonly keyRing: PromiseSettledResult<OpenedKeyRing>
}

type OfProject = Pick<JobPayload, "projectId" | "archiveId" | "sourceKey">

/** A key ring in use, and the projects that use it. */
export interface ProjectKeys {
  readonly projectIds: readonly string[]
  readonly keyRing: OpenedKeyRing
}

/** A store of a project that refused requests for their rate, and its current limit. */
export interface RequestLimitInForce {
  readonly projectId: string
  readonly side: "source" | "destination"
  readonly limit: number
}

/** The stores and keys of the current projects, each opened when it is first needed and then kept. */
export interface ProjectResources {
  /** Throws `ERR_JOB_INVALID` for a project that is not configured. What can't be opened is an error with its side. */
  of(archive: OfProject & Pick<JobPayload, "lane">): Promise<JobResources>
  /** Like `of`, but returns each side's result, even a failure. Must always be released. */
  sides(archive: OfProject): Promise<OpenedSides>
  /** The limits that stores have caused: requests in flight, by project and side. */
  requestLimits(): RequestLimitInForce[]
  /** The open and readable key rings, looked at as `createKeyLooks` says. Opens none. */
  keys(): Promise<ProjectKeys[]>
  close(): Promise<void>
}

export interface ProjectResourcesOptions {
  readonly config: Pick<Config, "projects" | "settings" | "env">
  /** Shared by all projects. */
  readonly budget: MeasuredBudget
  readonly logger: Logger
  readonly onRetry: NonNullable<OpenStoreOptions["onRetry"]>
  readonly notices: StoreNotices
  /** Where requests are counted. */
  readonly requests?: RequestMetrics | undefined
  readonly onExchange?: OpenStoreOptions["onExchange"]
  readonly stores?: Pick<OpenStoreOptions, "idleTimeoutMs"> | undefined
  readonly keyRings?: Pick<OpenKeyRingOptions, "schemes" | "requests"> | undefined
}

export function openProjectResources(options: ProjectResourcesOptions): ProjectResources {
  const { config, budget, logger, onRetry, notices, requests } = options
  const { projects, settings } = config
  const budgets = createProjectBudgets(budget, settings.UNSEAL_PART_SIZE_BYTES)
  const configured = () => projects.ids.flatMap((id) => projects.get(id) ?? [])
  const logFailure = (what: string) => (err: unknown) => logger.warn({ err }, `${what} could not be closed`)
  const limits = new Map<string, RequestLimit>()
  const used = whenOthers(projects, () => ({
    sources: new Set(configured().map(({ source }) => source)),
    destinations: new Set(configured().map(({ destination }) => destination)),
  }))
  const stores = createSharedPool({
    async open(url) {
      const limit = new RequestLimit()
      limits.set(url, limit)
      const partSizeBytes = settings.UNSEAL_PART_SIZE_BYTES
      const store = await openStore(url, {
        ...{ ...options.stores, partSizeBytes, env: config.env, onNotice: notices(url), limit },
        onRequest: (request) => requests?.store(sideOf(url, request.operation, used()), request),
        onExchange: options.onExchange,
        onRetry(code) {
          if (isAnswer(code)) silenceOf(store).refused()
          onRetry(code)
        },
      })
      return store
    },
    close(store, url) {
      limits.delete(url)
      return store.close().catch(logFailure("store"))
    },
    wanted: whenOthers(projects, () => used().sources.union(used().destinations)),
  })
  const usersOf = whenOthers(projects, () => Map.groupBy(configured(), ({ keys }) => keys))
  const lookAtKeys = createKeyLooks()
  const tellOfKeys = createKeyNotices(logger)
  const keyRings = createSharedPool({
    async open(location) {
      const keyRing = await openKeyRing(location, {
        ...{ oaepHash: settings.UNSEAL_OAEP_HASH, schemes: options.keyRings?.schemes },
        requests: { onRetry, onRequest: requests?.keys, ...options.keyRings?.requests },
      })
      tellOfKeys(keyRing)
      return keyRing
    },
    close: (keyRing) => keyRing.close().catch(logFailure("key ring")),
    wanted: whenOthers(projects, () => new Set(configured().map(({ keys }) => keys))),
  })

  async function sides({ projectId, archiveId, sourceKey }: OfProject): Promise<OpenedSides> {
    let project = projects.get(projectId)
    if (!project) {
      // Ingest, which accepted the callback, may have seen a new project first.
      await projects.refresh()
      project = projects.get(projectId)
    }
    if (!project) throw new UnsealError("ERR_JOB_INVALID", `project ${projectId} is not configured here`)
    const fill = (template: string) => fillKeyTemplate(template, { projectId, archiveId })
    const held = [
      stores.hold(project.source),
      stores.hold(project.destination),
      keyRings.hold(project.keys),
    ] as const
    const of = `of project ${projectId}`
    const [source, destination, keyRing] = await Promise.allSettled([
      opening("source", `the source ${of}`, held[0].opened),
      opening("destination", `the destination ${of}`, held[1].opened),
      opening("keys", `the key ring ${of}`, held[2].opened),
    ])
    if (keyRing.status === "fulfilled") tellOfKeys(keyRing.value)
    return {
      ...{ project, source, destination, keyRing },
      sourceKeys: sourceKey === undefined ? project.sourceKeys.map(fill) : [sourceKey],
      destinationKey: fill(project.destinationKey),
      release() {
        for (const one of held) one.release()
      },
    }
  }

  return {
    sides,
    async of(archive) {
      const { project, source, destination, keyRing, ...rest } = await sides(archive)
      try {
        const opened = {
          source: valueOrThrow(source),
          destination: valueOrThrow(destination),
          keyRing: valueOrThrow(keyRing),
        }
        return { ...rest, ...opened, budget: budgets.of(project)[laneOf(archive)] }
      } catch (error) {
        rest.release()
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
      for (const [, keyRing] of readable) tellOfKeys(keyRing)
      return readable.flatMap(([location, keyRing]) => {
        const users = usersOf().get(location) ?? []
        return users.length === 0 ? [] : [{ projectIds: users.map(({ id }) => id), keyRing }]
      })
    },
    close: async () => void (await Promise.all([stores.close(), keyRings.close()])),
  }
}

function valueOrThrow<T>(settled: PromiseSettledResult<T>): T {
  if (settled.status === "rejected") throw settled.reason
  return settled.value
}

/** The result of `make` for all projects, computed again only when they have changed. */
function whenOthers<T>(projects: Pick<Projects<WorkerProject>, "ids">, make: () => T): () => T {
  let made: { readonly ids: readonly string[]; readonly value: T } | undefined
  return () => {
    if (made?.ids !== projects.ids) made = { ids: projects.ids, value: make() }
    return made.value
  }
}
