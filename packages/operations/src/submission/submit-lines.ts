/**
 * Enqueues the lines of a submission, in blocks, because a command to Redis costs more than each job in it. Lines that are in the
 * queue, or done, are reported and left alone. So an interrupted submission is simply submitted again.
 */
import { randomUUID } from "node:crypto"
import { allEnded, backoffMs, rest, withDeadline } from "@unseal/archive/waiting"
import { createProducer, type Producer, QueueUnavailableError } from "@unseal/queue/enqueue/producer"
import { type FoundJob, findJobs } from "@unseal/queue/jobs/find-job"
import { jobIdOf, payloadOf } from "@unseal/queue/jobs/job"
import type { Lane } from "@unseal/queue/jobs/lane"
import { BULK_FULL_AT } from "@unseal/queue/redis/server"
import type { QueueAccess } from "../queue-access.ts"
import type { SubmittedArchive } from "./fields.ts"
import type { SubmittedLine } from "./read.ts"
import { SeenIds } from "./seen-ids.ts"

export interface SubmitLinesOptions {
  readonly lane: Lane
  /** Enqueues done archives once more. A line whose job is live or a dead letter is still a duplicate. */
  readonly again: boolean
  /** Enqueues nothing. */
  readonly dryRun: boolean
  /** Whether workers know the project. */
  readonly isKnown: (projectId: string) => boolean
  /**
   * Whether the archive is done, according to its destination. There are at most `LOOKS_AT_ONCE` calls at a time for each block.
   */
  readonly isDone: (archive: SubmittedArchive, signal: AbortSignal) => Promise<boolean>
  /**
   * How long Redis may be away or full, in milliseconds, before this gives up. Each line that gets through starts the time anew.
   * Default 5 minutes.
   */
  readonly waitMs?: number
  /** Called while Redis is away or full, once for each waiting line, with the reason as a clause. */
  onTrouble?(reason: string): void
}

/** What happened to a line, or would have happened without a dry run. */
export type Settled =
  | { readonly outcome: "enqueued"; readonly jobId: string }
  /** `live`: it waits or runs · `dead`: it is a dead letter · `line`: an earlier line of a dry run would be enqueued. */
  | { readonly outcome: "duplicate"; readonly jobId: string; readonly of: "live" | "dead" | "line" }
  | { readonly outcome: "done"; readonly jobId: string }
  | { readonly outcome: "ignored"; readonly reason: string }
  | { readonly outcome: "refused"; readonly reason: string }

export interface SettledLine {
  readonly line: SubmittedLine
  readonly settled: Settled
}

const LINES_IN_BLOCK = 256
/** While Redis works on one block, the next one is prepared. */
const BLOCKS_AT_ONCE = 3
/** How many archives are looked at simultaneously, for each block. */
export const LOOKS_AT_ONCE = 32
const WAIT_MS = 300_000
/** How long to wait for an answer of Redis. It may be long, because no sender of a callback is waiting. */
const ANSWER_MS = 10_000
const PAUSE = { baseMs: 200, maxMs: 3_000 }

/**
 * Settles `lines` and yields them in their order, in blocks. Throws what reading `lines` throws, `QueueUnavailableError` if Redis
 * stays away or full, and the reason of `signal`. Before it throws, it yields all settled lines. Other lines that were begun may
 * be in the queue, and a second run finds them there.
 */
export async function* submitLines(
  access: QueueAccess,
  lines: AsyncIterable<SubmittedLine>,
  options: SubmitLinesOptions,
  signal: AbortSignal,
): AsyncGenerator<readonly SettledLine[]> {
  const fullAt = options.lane === "bulk" ? { fullAt: BULK_FULL_AT } : {}
  const producer = createProducer({ ...access, ...fullAt, deadlineMs: ANSWER_MS })
  const settle = settler(access, producer, options, signal)
  const blocks: Promise<readonly SettledLine[]>[] = []
  const begin = (block: readonly SubmittedLine[]) => {
    const settling = settle(block)
    // The loop below awaits it, in the order of the lines.
    settling.catch(() => {})
    blocks.push(settling)
  }
  const reading = inBlocks(lines, signal)
  let failure: { readonly error: unknown } | undefined
  try {
    for (;;) {
      const next = await reading.next().catch((error: unknown) => {
        failure = { error }
        return { done: true } as const
      })
      if (next.done) break
      begin(next.value)
      if (blocks.length >= BLOCKS_AT_ONCE) yield await blocks.shift()!
    }
    while (blocks.length > 0) yield await blocks.shift()!
    if (failure !== undefined) throw failure.error
  } finally {
    await reading.return()
    await Promise.allSettled(blocks)
    await producer.close()
  }
}

/** The lines in blocks. A failure to read comes after the lines that were read. */
async function* inBlocks(
  lines: AsyncIterable<SubmittedLine>,
  signal: AbortSignal,
): AsyncGenerator<readonly SubmittedLine[], void> {
  let block: SubmittedLine[] = []
  try {
    for await (const line of lines) {
      signal.throwIfAborted()
      if (block.push(line) < LINES_IN_BLOCK) continue
      yield block
      block = []
    }
  } catch (error) {
    if (block.length > 0 && !signal.aborted) yield block
    throw error
  }
  if (block.length > 0) yield block
}

function settler(
  { connection, queue }: QueueAccess,
  producer: Producer,
  { lane, again, dryRun, isKnown, isDone, waitMs = WAIT_MS, onTrouble }: SubmitLinesOptions,
  signal: AbortSignal,
) {
  const seen = new SeenIds()
  let throughAt = performance.now()

  /** Repeats `work` while Redis is away or full. */
  async function through<T>(work: () => Promise<T>): Promise<T> {
    for (let failures = 1; ; failures++) {
      try {
        const result = await work()
        throughAt = performance.now()
        return result
      } catch (error) {
        if (!(error instanceof QueueUnavailableError) || performance.now() - throughAt >= waitMs) throw error
        onTrouble?.(error.message)
        await rest(backoffMs(failures, PAUSE), signal)
      }
    }
  }

  const find = (jobIds: readonly string[]): Promise<(FoundJob | null)[]> =>
    through(async () => {
      try {
        return await withDeadline(
          findJobs(connection, queue, jobIds),
          ANSWER_MS,
          () => new Error("no answer"),
        )
      } catch (error) {
        const reason = /^[A-Z]{3,}\b/.exec((error as Error).message)?.[0] ?? "it does not answer"
        throw new QueueUnavailableError(`redis can't be asked for jobs: ${reason}`)
      }
    })

  /** What the job of an archive says about it; otherwise the id that its new job will have. */
  async function known(archive: SubmittedArchive, found: FoundJob): Promise<Settled | { nextId: string }> {
    const { state, jobId, nextId } = found
    // A live line makes its job live if that waits in the bulk lane.
    if (state === "live" && lane === "live" && !dryRun) await enqueue(archive, jobId)
    if (state !== "completed") return { outcome: "duplicate", jobId, of: state }
    return again ? { nextId } : { outcome: "done", jobId }
  }

  function enqueue(archive: SubmittedArchive, jobId: string) {
    const payload = payloadOf({
      ...archive,
      ...{ receivedAt: new Date().toISOString(), nonce: randomUUID() },
      ...(lane === "bulk" && { lane }),
    })
    return through(() => producer.enqueue(payload, jobId))
  }

  /** What is known about a line before Redis is asked. */
  function judge(
    line: SubmittedLine,
  ): Settled | { readonly archive: SubmittedArchive; readonly first: string } {
    if ("malformed" in line) return { outcome: "refused", reason: line.malformed }
    if ("ignored" in line) return { outcome: "ignored", reason: line.ignored }
    const archive = line.payload
    return isKnown(archive.projectId)
      ? { archive, first: jobIdOf(archive) }
      : { outcome: "refused", reason: UNKNOWN_PROJECT }
  }

  async function settle(
    archive: SubmittedArchive,
    first: string,
    found: FoundJob | null,
    looks: Looks,
  ): Promise<Settled> {
    const what = found === null ? { nextId: first } : await known(archive, found)
    if ("outcome" in what) return what
    if (!again && (await looks(() => isDone(archive, signal)))) return { outcome: "done", jobId: first }
    if (dryRun)
      return seen.add(first)
        ? { outcome: "enqueued", jobId: what.nextId }
        : { outcome: "duplicate", jobId: what.nextId, of: "line" }
    const { outcome, jobId } = await enqueue(archive, what.nextId)
    return outcome === "enqueued" ? { outcome, jobId } : { outcome, jobId, of: "live" }
  }

  return async (block: readonly SubmittedLine[]): Promise<readonly SettledLine[]> => {
    const judged = block.map(judge)
    const ids = judged.flatMap((each) => ("first" in each ? [each.first] : []))
    const found = ids.length === 0 ? [] : await find(ids)
    const looks = limitedTo(LOOKS_AT_ONCE)
    let asked = 0
    const settled = await allEnded(
      judged.map((each) =>
        "outcome" in each ? each : settle(each.archive, each.first, found[asked++]!, looks),
      ),
    )
    return block.map((line, index) => ({ line, settled: settled[index]! }))
  }
}

const UNKNOWN_PROJECT = "its project is not configured: correct projectId, or add the project"

type Looks = (look: () => Promise<boolean>) => Promise<boolean>

/** Runs at most `most` looks at a time: each one waits for the one `most` places earlier. */
function limitedTo(most: number): Looks {
  const before: Promise<unknown>[] = []
  return (look) => {
    const own = Promise.resolve(before.at(-most)).then(look, look)
    before.push(own)
    return own
  }
}
