/** What each project has, logged once at start, so that a wrong set-up shows before the first archive. */
import { isUnsealError } from "@unseal/archive/errors"
import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import { rest } from "@unseal/archive/waiting"
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
/** An id of no archive, looked for to see whether the stores answer. */
const NO_ARCHIVE = "00000000-0000-0000-0000-000000000000"

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
      "too many projects to look at each now: the stores and keys of a project are opened when its first archive comes",
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
      lookAtStore("source", sides.source, sourceKeys[0]!, options),
      lookAtStore("destination", sides.destination, destinationKey, options),
    ])
    const keys =
      sides.keyRing.status === "fulfilled" ? keysOf(sides.keyRing.value) : notOpened("keys", sides.keyRing)
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
async function lookAtStore(
  side: string,
  store: OpenedSides["source"],
  key: string,
  { signal, lookMs = 10_000 }: SurveyOptions,
): Promise<{ readonly location?: string; readonly problems: readonly string[] }> {
  if (store.status === "rejected") return notOpened(side, store)
  const { value } = store
  const limit = new AbortController()
  const limited = AbortSignal.any([signal, limit.signal])
  const late = rest(lookMs, limited).then(
    () => [`${side}: no answer within ${lookMs} ms`],
    () => [],
  )
  const answered = value.stat(key, limited).then(
    () => [],
    (error: unknown) => (signal.aborted ? [] : [`${side}: ${clauseOf(error)}`]),
  )
  const problems = await Promise.race([answered, late]).finally(() => limit.abort())
  return { location: value.location, problems }
}

function keysOf(keyRing: OpenedKeyRing): Required<Pick<Found, "keys" | "problems">> {
  const expiries = new Map(keyRing.certificates().map(({ keyId, notAfter }) => [keyId, notAfter]))
  const keys = keyRing.describe().map(({ keyId, name }) => {
    const expires = expiries.get(keyId)?.toISOString()
    return { keyId, file: name, ...(expires !== undefined && { expires }) }
  })
  return {
    keys,
    problems: [
      ...(keys.length === 0 ? [withoutKeys(keyRing)] : []),
      ...keyRing.problems().map(({ name, error }) => `keys: ${name} can't be used: ${clauseOf(error)}`),
    ],
  }
}

/** The likeliest reason for a directory without a key is a key with another name than `*.pem`. */
function withoutKeys(keyRing: OpenedKeyRing): string {
  const ignored = keyRing.notes().filter(({ kind }) => kind === "ignored")
  const why = ignored.slice(0, 3).map(({ message }) => message)
  return [`keys: ${keyRing.location} holds no usable key`, ...why].join("; ")
}

/** Only our own messages are known to hold no secret. */
const clauseOf = (error: unknown): string => {
  if (isUnsealError(error)) return `${error.code}: ${error.message}; ${error.remedy}`
  return error instanceof Error ? error.name : typeof error
}
