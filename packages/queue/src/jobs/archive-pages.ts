/**
 * Lists the archives of a queue by state, a page at a time. Only Redis's search for a place in a list grows with the queue
 * (lines.ts).
 */
import { heldKey, queueKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import { readTogether } from "../redis/read-together.ts"
import { codeOf, type FailureCode } from "../run/ending.ts"
import { parseName, readStates } from "../suspension/state.ts"
import { type ArchiveJob, readArchiveJobs } from "./archive-jobs.ts"
import { type Direction, type Place, pageOfLine } from "./lines.ts"

/**
 * What can be listed. `waiting`: the next in line first · `active`: the longest running first · `delayed`: the next due first, without
 * those that a suspension holds · `suspended`: by suspension, each in its order · `dead`, `committed`: the newest first; committed
 * archives are remembered for an hour.
 */
export const LISTED_STATES = ["waiting", "active", "delayed", "suspended", "dead", "committed"] as const
export type ListedState = (typeof LISTED_STATES)[number]

export interface ArchivePageQuery {
  readonly state: ListedState
  readonly projectId?: string | undefined
  /** Only dead letters with this code. */
  readonly code?: FailureCode | undefined
  /** `next` of the page before. */
  readonly after?: string | undefined
  /** 1 to 100. Default 50. */
  readonly limit?: number
}

export interface ArchivePage {
  readonly jobs: readonly ArchiveJob[]
  /** Continues after this page; `null` at the end. */
  readonly next: string | null
  /**
   * How many archives were looked at for this page. With a filter the search ends after some thousands, so that a page may have few
   * archives, or none, and still a `next`.
   */
  readonly looked: number
}

/** A line of jobs in Redis; its name is part of a cursor. */
interface Line {
  readonly name: string
  readonly key: string
  readonly direction: Direction
}

/** How many ids are read at once, and looked at for one page. */
const IDS_AT_ONCE = 500
const MOST_LOOKED_AT = 20_000
/** A filter that reads a field of each job looks at fewer. */
const MOST_READ = 5_000

/**
 * A page of the archives in `state`. While jobs move, an archive may be left out or appear in its new state; each is shown in the
 * state that it has when it is read. Throws `RangeError` for a limit that is out of range; an invalid cursor begins anew.
 */
export async function pageArchives(
  connection: RedisClient,
  queue: string,
  { state, projectId, code, after, limit = 50 }: ArchivePageQuery,
): Promise<ArchivePage> {
  if (!Number.isInteger(limit) || limit < 1 || limit > 100)
    throw new RangeError(`limit ${limit} is not between 1 and 100`)
  const suspended = await suspendedNames(connection, queue)
  const lines = linesOf(queue, state, suspended, projectId)
  const most = code === undefined ? MOST_LOOKED_AT : MOST_READ
  const isFiltered = projectId !== undefined || code !== undefined || state === "delayed"
  const found: { line: Line; place: Place }[] = []
  let looked = 0
  let { line: at, last } = positionIn(lines, after)
  while (at < lines.length && found.length < limit && looked < most) {
    const line = lines[at]!
    // Without a filter one more shows whether there is another page.
    const wanted = isFiltered ? IDS_AT_ONCE : limit - found.length + 1
    const places = await pageOfLine(connection, line.key, last, wanted, line.direction)
    const meant = await matching(places)
    const room = meant.slice(0, limit - found.length)
    found.push(...room.map((place) => ({ line, place })))
    // Archives behind the last one that fits are looked at again for the next page.
    const isFull = meant.length > room.length
    last = isFull ? room.at(-1)! : (places.at(-1) ?? last)
    looked += isFull ? places.findIndex(({ id }) => id === last!.id) + 1 : places.length
    if (isFull) break
    if (places.length === wanted) continue
    at++
    last = undefined
  }
  const jobs = await readArchiveJobs(
    connection,
    queue,
    found.map(({ place }) => place.id),
  )
  const isEnd = at >= lines.length
  return { jobs, looked, next: isEnd ? null : cursorOf(lines[at]!, last) }

  async function matching(places: readonly Place[]): Promise<readonly Place[]> {
    let meant = projectId === undefined ? places : places.filter(({ id }) => id.startsWith(`${projectId}_`))
    if (state === "delayed") meant = await withoutHeld(connection, queue, meant, suspended)
    if (code === undefined || meant.length === 0) return meant
    const reading = connection.pipeline()
    for (const { id } of meant) reading.hget(queueKey(queue, id), "failedReason")
    const reasons = ((await reading.exec()) ?? []).map(([, reason]) => reason)
    return meant.filter((_, index) => codeOf(String(reasons[index] ?? "ERR_JOB_INVALID: ")) === code)
  }
}

/** How many archives are in each state. A few counts, whatever the queue's length. */
export async function countArchives(
  connection: RedisClient,
  queue: string,
): Promise<Readonly<Record<ListedState, number>>> {
  const names = await suspendedNames(connection, queue)
  const [wait = 0, paused = 0, active = 0, prioritized = 0, delayed = 0, dead = 0, committed = 0, ...held] =
    await readTogether(connection, [
      ...["wait", "paused", "active"].map((list) => ["llen", queueKey(queue, list)] as const),
      ...["prioritized", "delayed", "failed", "completed"].map(
        (set) => ["zcard", queueKey(queue, set)] as const,
      ),
      ...names.map((name) => ["zcard", heldKey(queue, name)] as const),
    ])
  const suspended = held.reduce((sum, count) => sum + count, 0)
  return {
    ...{ waiting: wait + paused + prioritized, active, delayed: Math.max(0, delayed - suspended) },
    ...{ suspended, dead, committed },
  }
}

/** The suspensions that hold archives, ending ones included, in a stable order. */
const suspendedNames = async (connection: RedisClient, queue: string): Promise<string[]> =>
  [...(await readStates(connection, queue)).keys()].sort()

function linesOf(
  queue: string,
  state: ListedState,
  suspended: readonly string[],
  projectId: string | undefined,
): Line[] {
  const line = (name: string, direction: Direction = "first-to-last"): Line => ({
    ...{ name, key: queueKey(queue, name), direction },
  })
  switch (state) {
    case "waiting":
      return [line("wait"), line("paused"), line("prioritized")]
    case "active":
      return [line("active")]
    case "delayed":
      return [line("delayed")]
    case "dead":
      return [line("failed", "last-to-first")]
    case "committed":
      return [line("completed", "last-to-first")]
    case "suspended":
      return suspended
        .filter((name) => projectId === undefined || parseName(name).projectId === projectId)
        .map((name) => ({ name, key: heldKey(queue, name), direction: "first-to-last" }))
  }
}

async function withoutHeld(
  connection: RedisClient,
  queue: string,
  places: readonly Place[],
  suspended: readonly string[],
): Promise<readonly Place[]> {
  const held = new Set<string>()
  const ofProject = Map.groupBy(places, ({ id }) => id.split("_", 1)[0]!)
  const reading = connection.pipeline()
  const asked: (readonly Place[])[] = []
  for (const name of suspended) {
    const own = ofProject.get(parseName(name).projectId)
    if (own === undefined) continue
    reading.zmscore(heldKey(queue, name), ...own.map(({ id }) => id))
    asked.push(own)
  }
  if (asked.length === 0) return places
  for (const [index, [error, scores]] of ((await reading.exec()) ?? []).entries()) {
    if (error) throw error
    for (const [which, score] of (scores as (string | null)[]).entries())
      if (score !== null) held.add(asked[index]![which]!.id)
  }
  return places.filter(({ id }) => !held.has(id))
}

/** A line's name, and the last place in it. */
const cursorOf = ({ name }: Line, last: Place | undefined): string =>
  last === undefined ? name : `${name}~${last.at}~${last.id}`

/** Lines that are gone meanwhile are skipped: a suspension that has ended. */
function positionIn(
  lines: readonly Line[],
  after: string | undefined,
): { line: number; last: Place | undefined } {
  const [name = "", at, id] = after?.split("~") ?? []
  const isPlace = id !== undefined && id !== "" && /^-?\d+(\.\d+)?(e\+\d+)?$/.test(at ?? "")
  const exact = lines.findIndex((line) => line.name === name)
  if (exact >= 0) return { line: exact, last: isPlace ? { id, at: Number(at) } : undefined }
  const next = name.includes(":") ? lines.findIndex((line) => line.name > name) : 0
  return { line: next < 0 ? lines.length : next, last: undefined }
}
