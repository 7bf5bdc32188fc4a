/** Reads matching dead letters from the newest on, a page at a time. */

import { type Lane, laneOf } from "../jobs/lane.ts"
import { queueKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import { codeOf, type FailureCode } from "../run/ending.ts"

/** A job that was given up. */
export interface DeadLetter {
  readonly jobId: string
  readonly projectId: string
  readonly archiveId: string
  /** The lane that it had, and will have again when it is redriven. */
  readonly lane: Lane
  readonly code: FailureCode
  /** `CODE: message` of its last attempt. */
  readonly reason: string
  readonly attempts: number
  /** ISO 8601, like `failedAt`. */
  readonly addedAt: string
  readonly failedAt: string
  /** Its payload is lost, so it can't be redriven. The next callback for the archive takes its place. */
  readonly damaged?: true
}

/** Selects dead letters; all by default. */
export interface DeadLetterFilter {
  readonly code?: FailureCode
  readonly projectId?: string
  /** Only those with these job or archive ids. */
  readonly ids?: readonly string[]
  /** Only those that were given up before this moment. */
  readonly failedBefore?: Date
}

/** Selects a page. */
export interface DeadLetterPage {
  /** The last entry of the previous page, after which this one begins. It need not exist any more. */
  readonly after?: Pick<DeadLetter, "failedAt" | "jobId">
  /** 1 to 1000. Default 100. */
  readonly limit?: number
}

/** A dead letter's id, and when it was given up, in milliseconds since the epoch. */
interface Entry {
  readonly id: string
  readonly failedAt: number
}

/** How many places are read at once. */
const PAGE = 500
const FIELDS = ["data", "failedReason", "atm", "timestamp"] as const

/**
 * The matching dead letters, the newest first: fewer than `limit` only if there are no more. A filter by code reads the reason of
 * each one that it skips; the other filters read only ids. Throws `RangeError` for a `limit` out of range.
 */
export async function listDeadLetters(
  connection: RedisClient,
  queue: string,
  { after, limit = 100, ...filter }: DeadLetterFilter & DeadLetterPage = {},
): Promise<DeadLetter[]> {
  if (!Number.isInteger(limit) || limit < 1 || limit > 1_000)
    throw new RangeError(`limit ${limit} is not between 1 and 1000`)
  const last = after && { id: after.jobId, failedAt: Date.parse(after.failedAt) }
  if (Number.isNaN(last?.failedAt)) throw new RangeError(`after ${after?.failedAt} is not a time`)
  const isMeant = matcherOf(filter)
  const listed: DeadLetter[] = []
  for await (const places of newestFirst(connection, queue, last, filter.failedBefore)) {
    let meant = places.filter(({ id }) => isMeant(id))
    if (filter.code !== undefined) {
      const codes = await readCodes(connection, queue, meant)
      meant = meant.filter((_, index) => codes[index] === filter.code)
    }
    listed.push(...(await readLetters(connection, queue, meant.slice(0, limit - listed.length))))
    if (listed.length === limit) break
  }
  return listed
}

/** How many of the `limit` newest dead letters have each code. */
export async function countDeadLetters(
  connection: RedisClient,
  queue: string,
  limit: number,
): Promise<Map<FailureCode, number>> {
  const byCode = new Map<FailureCode, number>()
  let left = limit
  for await (const places of newestFirst(connection, queue, undefined, undefined)) {
    for (const code of await readCodes(connection, queue, places.slice(0, left)))
      byCode.set(code, (byCode.get(code) ?? 0) + 1)
    left -= places.length
    if (left <= 0) break
  }
  return byCode
}

/** The places after `last`, in pages. Whatever is added or removed meanwhile, none repeats, and none that stays is left out. */
async function* newestFirst(
  connection: RedisClient,
  queue: string,
  last: Entry | undefined,
  before: Date | undefined,
): AsyncGenerator<Entry[]> {
  let newest: string | number = before === undefined ? "+inf" : `(${before.getTime()}`
  if (last !== undefined && (before === undefined || last.failedAt < before.getTime())) newest = last.failedAt
  for (let offset = 0; ; ) {
    const range = [queueKey(queue, "failed"), newest, "-inf", "WITHSCORES", "LIMIT", offset, PAGE] as const
    const answer = await connection.zrevrangebyscore(...range)
    const places = Array.from({ length: answer.length / 2 }, (_, index) => ({
      id: answer[2 * index]!,
      failedAt: Number(answer[2 * index + 1]),
    }))
    if (places.length === 0) return
    const begin: Entry | undefined = last
    // Those of the same moment are ordered by id.
    const rest = places.filter(
      ({ id, failedAt }) => begin === undefined || failedAt < begin.failedAt || id < begin.id,
    )
    if (rest.length > 0) yield rest
    // More were given up at one moment than a page holds, so only an offset gets past them.
    offset = rest.length > 0 ? 0 : offset + places.length
    last = rest.at(-1) ?? last
    newest = last?.failedAt ?? newest
  }
}

async function readCodes(
  connection: RedisClient,
  queue: string,
  places: readonly Entry[],
): Promise<FailureCode[]> {
  const fields = await readFields(connection, queue, places, ["failedReason"])
  return fields.map(([failedReason]) => codeOf(reasonIn(failedReason)))
}

async function readLetters(
  connection: RedisClient,
  queue: string,
  places: readonly Entry[],
): Promise<DeadLetter[]> {
  const fields = await readFields(connection, queue, places, FIELDS)
  return places.map((place, index) => deadLetterOf(place, fields[index]!))
}

/** Some fields of each job, all absent if the job is damaged, so that it hides no other. BullMQ reads a whole job or throws. */
async function readFields(
  connection: RedisClient,
  queue: string,
  places: readonly Entry[],
  names: readonly string[],
): Promise<(string | null)[][]> {
  if (places.length === 0) return []
  const reading = connection.pipeline()
  for (const { id } of places) reading.hmget(queueKey(queue, id), ...names)
  return ((await reading.exec()) ?? []).map(([error, fields]) => {
    if (error && !error.message.startsWith("WRONGTYPE")) throw error
    return error ? [] : (fields as (string | null)[])
  })
}

/** Project and archive of a job, as `jobIdOf` puts them into its id. */
export function subjectOf(jobId: string): { projectId: string; archiveId: string } {
  const [projectId = "", archiveId = ""] = jobId.split("_")
  return { projectId, archiveId }
}

function matcherOf({ projectId, ids }: DeadLetterFilter): (jobId: string) => boolean {
  const wanted = ids && new Set(ids)
  return (jobId) => {
    const subject = subjectOf(jobId)
    if (projectId !== undefined && subject.projectId !== projectId) return false
    return wanted === undefined || wanted.has(jobId) || wanted.has(subject.archiveId)
  }
}

const reasonIn = (failedReason: string | null | undefined): string =>
  failedReason || "ERR_JOB_INVALID: the reason is lost"

/** The payload in `data`, unchecked; `null` if there is none, or if it is not JSON. */
export function payloadIn(data: string | null | undefined): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(data ?? "null")
    return typeof value === "object" ? (value as Record<string, unknown> | null) : null
  } catch {
    return null
  }
}

/** Without the payload, so that the encrypted password stays in Redis. A damaged one has only what its id and its place tell. */
function deadLetterOf(
  { id, failedAt }: Entry,
  [data, failedReason, attempts, timestamp]: readonly (string | null)[],
): DeadLetter {
  const addedAt = Number(timestamp ?? Number.NaN)
  const payload = payloadIn(data)
  const isDamaged = payload === null
  const isWhole = !isDamaged && !!failedReason && addedAt > 0
  const reason = reasonIn(failedReason)
  const iso = (ms: number) => new Date(Math.abs(ms) < 8.64e15 ? ms : 0).toISOString()
  return {
    jobId: id,
    ...subjectOf(id),
    lane: laneOf(payload ?? {}),
    code: codeOf(reason),
    reason: isWhole ? reason : `${reason} (damaged in redis)`,
    attempts: Number.parseInt(attempts ?? "", 10) || 0,
    addedAt: iso(addedAt > 0 ? addedAt : failedAt),
    failedAt: iso(failedAt),
    ...(isDamaged && { damaged: true as const }),
  }
}
