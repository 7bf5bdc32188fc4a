/**
 * Compares a manifest with the queue, the destinations and the sources, and counts what a backfill of it would do. It changes
 * nothing. Memory does not grow with the manifest, and the trouble of one project does not affect the others.
 */
import { isUnsealError, UnsealError } from "@unseal/archive/errors"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { rest } from "@unseal/archive/waiting"
import type { RedisClient } from "@unseal/queue/redis/client"
import { requestsOf } from "../../capacity/requests.ts"
import type { Said, SubmittedArchive } from "../../submission/fields.ts"
import { addArchived, addWork, countsOf, noCounts, type PlanCounts, type Work } from "./counts.ts"
import { type LookPlaces, lookAt, type PlannedProject, type Verdict } from "./look.ts"

/** A line of a manifest. */
export type PlannedLine = Said & {
  /** Counted from 1. */
  readonly line: number
}

export interface PlanDependencies {
  readonly connection: RedisClient
  readonly queue: string
  readonly projectOf: (projectId: string) => PlannedProject | undefined
  /** Whether the vendor's storage can be asked for the project's archives. */
  readonly hasVendor: (projectId: string) => boolean
  /** Opens a store for one side. The plan closes it. */
  readonly openStore: (url: string) => Promise<OpenedStore>
}

export interface PlanOptions {
  /** Called now and then with the number of lines that have been looked at. */
  readonly onProgress?: (lines: number) => void
  /** How long to wait before each further look at a store that can't be reached, in milliseconds. Default 1 s, 5 s, 15 s. */
  readonly pausesMs?: readonly number[]
}

/**
 * How many archives are looked at simultaneously. With two looks for each, and a store that takes a tenth of a second for a look,
 * that makes 320 a second.
 */
const AT_ONCE = 64
const PAUSES_MS = [1_000, 5_000, 15_000]
const MOST_EXAMPLES = 5
const MOST_UNCONFIGURED = 100
const PROGRESS_LINES = 100

/** Troubles of a store that may end while a plan is made. */
const PASSING = ["ERR_STORE_UNAVAILABLE", "ERR_STORE_BUSY"] as const

/**
 * Counts the archives of `lines` by what a backfill would do with them. Throws what `lines` and Redis throw, and `signal`'s reason.
 * Trouble of a project's stores is in the result, and its archives are then `unknown`.
 */
export async function planBackfill(
  dependencies: PlanDependencies,
  lines: AsyncIterable<PlannedLine>,
  { onProgress = () => {}, pausesMs = PAUSES_MS }: PlanOptions,
  signal: AbortSignal,
): Promise<PlanCounts> {
  const counts = noCounts()
  const places = createPlaces(dependencies)
  const troubled = new Set<string>()
  let seen = 0

  async function place(archive: SubmittedArchive): Promise<void> {
    const { projectId } = archive
    const project = dependencies.projectOf(projectId)
    if (project === undefined) return countUnconfigured(counts, projectId)
    const own = countsOf(counts, projectId)
    if (troubled.has(projectId)) return void own.unknown++
    try {
      note(archive, await look(archive, project))
    } catch (error) {
      signal.throwIfAborted()
      if (!isUnsealError(error)) throw error
      own.unknown++
      if (troubled.has(projectId)) return
      troubled.add(projectId)
      const { code, message: reason, ownRemedy: remedy } = error
      counts.troubles.push({ projectId, code, reason, ...(remedy !== undefined && { remedy }) })
    }
  }

  /** Repeats a look that failed: a plan has no queue that would look again later. */
  async function look(archive: SubmittedArchive, project: PlannedProject): Promise<Verdict> {
    for (let pauses = 0; ; pauses++) {
      try {
        return await lookAt(archive, await places.of(project), signal)
      } catch (error) {
        const pauseMs = pausesMs[pauses]
        // A store that does not answer has been given enough time.
        const mayPass = isUnsealError(error, ...PASSING) && !error.silent && !error.slow
        if (!mayPass || pauseMs === undefined || troubled.has(project.id)) throw error
        await rest(pauseMs, signal)
      }
    }
  }

  function note({ projectId, status, size: announced }: SubmittedArchive, verdict: Verdict): void {
    const own = countsOf(counts, projectId)
    if (verdict.kind === "done" || verdict.kind === "live" || verdict.kind === "dead") {
      own[verdict.kind]++
      return
    }
    if (verdict.wasDiscarded) own.discarded++
    if (verdict.kind === "missing") {
      if (status === "available" && dependencies.hasVendor(projectId)) {
        addWork(own.vendor, workOf(announced ?? 0))
        return
      }
      own.missing++
      if (verdict.permission !== null) counts.unseen[projectId] = verdict.permission
      return
    }
    const { size, archival } = verdict
    addWork(archival === undefined ? own.fresh : own.restored, workOf(size))
    if (archival === undefined) return
    const restoring = Number(archival.isRestoring)
    addArchived(own, archival.storageClass, { archives: 1, bytes: size, restoring })
  }

  /** Several loops take their lines from this. */
  const given = lines[Symbol.asyncIterator]()
  let isOver = false
  let taking: Promise<unknown> = Promise.resolve()
  /** Only one asks for the next line at a time. */
  const take = (): Promise<IteratorResult<PlannedLine>> => {
    const taken = taking.then(
      async (): Promise<IteratorResult<PlannedLine>> =>
        isOver ? { done: true, value: undefined } : given.next(),
    )
    taking = taken.catch(() => {})
    return taken
  }
  async function work(): Promise<void> {
    for (;;) {
      signal.throwIfAborted()
      const { done, value } = await take()
      if (done) return
      if ("payload" in value) {
        counts.archives++
        await place(value.payload)
      } else countLine(counts, value)
      if (++seen % PROGRESS_LINES === 0) onProgress(seen)
    }
  }

  try {
    const ended = await Promise.allSettled(
      Array.from({ length: AT_ONCE }, () =>
        work().catch((error: unknown) => {
          // The other loops end after their current line.
          isOver = true
          throw error
        }),
      ),
    )
    for (const one of ended) if (one.status === "rejected") throw one.reason
    onProgress(seen)
    return counts
  } finally {
    await given.return?.()
    await places.close()
  }
}

/** The work of decrypting an archive of `size` bytes. */
function workOf(size: number): Work {
  const { reads, writes } = requestsOf(size)
  return { archives: 1, bytes: size, reads, writes }
}

function countLine(counts: PlanCounts, line: Exclude<PlannedLine, { payload: unknown }>): void {
  if ("ignored" in line) {
    counts.ignored[line.ignored] = (counts.ignored[line.ignored] ?? 0) + 1
    return
  }
  counts.malformed++
  if (counts.malformedLines.length < MOST_EXAMPLES)
    counts.malformedLines.push({ line: line.line, reason: line.malformed })
}

function countUnconfigured({ unconfigured }: PlanCounts, projectId: string): void {
  const isNamed = projectId in unconfigured || Object.keys(unconfigured).length < MOST_UNCONFIGURED
  const name = isNamed ? projectId : "others"
  unconfigured[name] = (unconfigured[name] ?? 0) + 1
}

/** The stores of the projects, each opened once. */
function createPlaces({ connection, queue, openStore }: PlanDependencies) {
  const opened = new Map<string, Promise<OpenedStore>>()
  const open = (url: string): Promise<OpenedStore> => {
    const before = opened.get(url)
    if (before !== undefined) return before
    const opening = openStore(url).catch((cause: unknown) => {
      if (isUnsealError(cause)) throw cause
      const reason = cause instanceof Error ? cause.message : typeof cause
      throw new UnsealError("ERR_STORE_DENIED", `a store can't be opened: ${reason}`, { cause })
    })
    opened.set(url, opening)
    return opening
  }
  return {
    async of(project: PlannedProject): Promise<LookPlaces> {
      const [source, destination] = await Promise.all([open(project.source), open(project.destination)])
      return { connection, queue, project, source, destination }
    },
    async close(): Promise<void> {
      for (const store of await Promise.allSettled(opened.values()))
        if (store.status === "fulfilled") await store.value.close()
    },
  }
}
