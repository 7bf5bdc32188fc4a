/** What each project has, logged once at start, so that a wrong set-up shows before the first archive. */
import { clauseOf, lookAtKeys, lookAtStore, NO_ARCHIVE } from "@unseal/archive/first-look"
import type { Logger } from "@unseal/service/log/logger"
import type { Settings } from "../config.ts"
import type { OpenedSides, ProjectResources } from "../run/project-resources.ts"

export interface SurveyOptions {
  readonly projectIds: readonly string[]
  readonly projectResources: Pick<ProjectResources, "sides">
  readonly settings: Pick<Settings, "UNSEAL_TAIL">
  readonly logger: Logger
  readonly signal: AbortSignal
  /** How long a store may take to answer. Default 10000. */
  readonly lookMs?: number
}

/** With more, none is looked at before its first archive: a start must not open everybody's stores and keys. */
const MOST_PROJECTS = 100
const AT_ONCE = 4

/**
 * Logs one line per project: its stores, the keys by id with their certificates' expiry dates, and the tail rule; or what is
 * wrong with it. Runs beside the work, a few projects at a time. With more than 100 projects, logs only how many there are. Does
 * not throw.
 */
export async function surveyProjects(options: SurveyOptions): Promise<void> {
  const { projectIds, logger, signal } = options
  if (projectIds.length > MOST_PROJECTS) {
    logger.info(
      { projects: projectIds.length, mostLookedAt: MOST_PROJECTS },
      "too many projects to look at each now: a project's stores and keys are opened with its first archive",
    )
    return
  }
  const pending = [...projectIds]
  const work = async () => {
    for (let id = pending.shift(); id !== undefined && !signal.aborted; id = pending.shift()) {
      const { problems, ...found } = await lookAt(id, options)
      if (signal.aborted) return
      const line = { projectId: id, ...found, tail: options.settings.UNSEAL_TAIL }
      if (problems.length === 0) logger.info(line, "project is set up")
      else logger.warn({ ...line, problems }, "project is not set up: its archives will wait")
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}

interface Found {
  readonly source?: string
  readonly destination?: string
  readonly keys?: readonly { readonly keyId: string; readonly file: string; readonly expires?: string }[]
  readonly problems: readonly string[]
}

async function lookAt(projectId: string, options: SurveyOptions): Promise<Found> {
  let sides: OpenedSides
  try {
    sides = await options.projectResources.sides({ projectId, archiveId: NO_ARCHIVE })
  } catch (error) {
    return { problems: [clauseOf(error)] }
  }
  try {
    const { sourceKeys, destinationKey } = sides
    const [source, destination] = await Promise.all([
      lookAtSide("source", sides.source, sourceKeys[0]!, options),
      lookAtSide("destination", sides.destination, destinationKey, options),
    ])
    const keys = lookAtRing(sides.keyRing)
    return {
      ...(source.location !== undefined && { source: source.location }),
      ...(destination.location !== undefined && { destination: destination.location }),
      ...("keys" in keys && { keys: keys.keys }),
      problems: [source, destination, keys].flatMap(({ problems }) => problems),
    }
  } finally {
    sides.release()
  }
}

const notOpened = (side: string, { reason }: PromiseRejectedResult) => ({
  problems: [`${side}: ${clauseOf(reason)}`],
})

/** Whether the store answers a look at `key`. */
async function lookAtSide(
  side: string,
  store: OpenedSides["source"],
  key: string,
  { signal, lookMs = 10_000 }: SurveyOptions,
): Promise<{ readonly location?: string; readonly problems: readonly string[] }> {
  if (store.status === "rejected") return notOpened(side, store)
  const problems = await lookAtStore(store.value, key, { signal, limitMs: lookMs }).then(
    () => [],
    (error: unknown) => (signal.aborted ? [] : [`${side}: ${clauseOf(error)}`]),
  )
  return { location: store.value.location, problems }
}

function lookAtRing(ring: OpenedSides["keyRing"]): Pick<Found, "keys" | "problems"> {
  if (ring.status === "rejected") return notOpened("keys", ring)
  const { keys, problems } = lookAtKeys(ring.value)
  return {
    keys: keys.map(({ keyId, file, expires }) => ({
      ...{ keyId, file },
      ...(expires !== undefined && { expires: expires.toISOString() }),
    })),
    problems: problems.map((problem) => `keys: ${problem}`),
  }
}
