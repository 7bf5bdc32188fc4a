/** The report of a backfill: a row for each line of its manifest, whether it is settled or not. */
import { readJobStates } from "@unseal/queue/backfill/job-states"
import { jobIdOf } from "@unseal/queue/jobs/job"
import type { RedisClient } from "@unseal/queue/redis/client"
import { rowOf } from "./feed/open-segment.ts"
import { isRefused, type ManifestLine, type SegmentLine } from "./home/line.ts"
import { type Manifest, readSegment } from "./home/manifest.ts"
import type { LineOutcome } from "./home/outcomes.ts"
import { readOutcomes, readState } from "./home/state.ts"
import type { BackfillPlace } from "./places.ts"

/**
 * The rows, in the order of the manifest. A settled segment's rows are those that were written when it was settled. In a segment
 * that is under way, the queue is asked about each line. A line that it does not know is `pending`. So is an archive that was
 * committed more than an hour ago but is not settled yet. Throws `BackfillError`.
 */
export async function* readReport(
  { connection, queue }: { readonly connection: RedisClient; readonly queue: string },
  { id, store }: BackfillPlace,
  manifest: Manifest,
  signal: AbortSignal,
): AsyncGenerator<LineOutcome> {
  const { opened, isCancelled = false } = await readState(store, id, signal)
  for (const [index, segment] of manifest.segments.entries()) {
    const number = index + 1
    const settled = await readOutcomes(store, id, number, segment.lines, signal)
    if (settled !== null) {
      yield* settled
      continue
    }
    const lines = await readSegment(store, segment, signal)
    const rest = isCancelled ? "cancelled" : "pending"
    if (number > opened || isCancelled)
      for (const line of lines) yield settledNow(line) ?? rowOf(line, rest, 0)
    else yield* underWay(connection, queue, lines)
  }
}

const settledNow = (line: SegmentLine): LineOutcome | null =>
  isRefused(line) ? rowOf(line, "refused", 0, { reason: line.refused }) : null

async function* underWay(
  connection: RedisClient,
  queue: string,
  lines: readonly SegmentLine[],
): AsyncGenerator<LineOutcome> {
  const archives = lines.filter((line): line is ManifestLine => !isRefused(line))
  const jobs = await readJobStates(connection, queue, archives.map(jobIdOf))
  const states = new Map(archives.map((line, index) => [line, jobs[index]!]))
  for (const line of lines) {
    const refused = settledNow(line)
    if (refused !== null) {
      yield refused
      continue
    }
    const job = states.get(line as ManifestLine)!
    if (job.state === "dead") yield rowOf(line, "dead-letter", 0, job)
    else if (job.state === "none" || job.state === "discarded") yield rowOf(line, "pending", 0)
    else yield rowOf(line, job.state === "completed" ? "committed" : "waiting", 0, { jobId: job.jobId })
  }
}
