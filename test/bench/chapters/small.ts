import type { Bench } from "../bench-context.ts"
import { prepareCallbacks, sendCallbacks } from "../callbacks.ts"
import { type IngestProcess, startIngest } from "../ingest-process.ts"
import { cpuSecondsOf } from "../measure.ts"
import type { Section, Target } from "../report.ts"
import { show, spreadOf } from "../statistics.ts"
import { startWorkers, type Workers } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

const ARCHIVE_BYTES = 1024 * 1024
const TARGET_PER_SECOND = 500
const DIGESTS = ["sha256", "none"] as const
type Digest = (typeof DIGESTS)[number]

interface Round {
  readonly perSecond: number
  readonly workerMs: number
  readonly ingestMs: number
  readonly peakRssBytes: number
}

/** One ingest, one queue and one worker. */
interface Line {
  readonly workers: Workers
  readonly ingest: IngestProcess
  readonly rounds: Round[]
}

export const small: Chapter = {
  name: "small",
  title: "Many small archives through the whole system",
  async run(bench) {
    const count = bench.options.quick ? 300 : 3_000
    const failures: string[] = []
    const lines = {} as Record<Digest, Line>
    try {
      for (const digest of DIGESTS) lines[digest] = await startLine(bench, digest)
      await bench.expected(ARCHIVE_BYTES)
      // Round 0 warms up.
      for (let round = 0; round <= bench.options.rounds; round++)
        for (const digest of DIGESTS) {
          const figures = await throughTheLine(bench, lines[digest], count)
          failures.push(...(await wrongOutputs(bench, count)))
          bench.say(`  round ${round}: digest ${digest}: ${figures.perSecond.toFixed(0)} archives/s`)
          if (round > 0) lines[digest].rounds.push(figures)
        }
    } catch (error) {
      failures.push((error as Error).message)
    } finally {
      for (const { workers, ingest } of Object.values(lines)) {
        await ingest.stop()
        await workers.close()
      }
    }
    return report(lines, count, failures)
  },
}

async function startLine(bench: Bench, digest: Digest): Promise<Line> {
  const env = { UNSEAL_DIGEST: digest }
  const workers = await startWorkers(bench, { origin: bench.endpoint, archiveBytes: ARCHIVE_BYTES, env })
  const ingest = await startIngest(bench, { queue: workers.queue, auth: "signed" })
  return { workers, ingest, rounds: [] }
}

async function throughTheLine(bench: Bench, { workers, ingest }: Line, count: number): Promise<Round> {
  const callbacks = prepareCallbacks(bench, count)
  await bench.endpoint.forget()
  const [workerBefore, ingestBefore] = [workers.cpuSeconds(), cpuSecondsOf(ingest.pid)]
  const startedAt = performance.now()
  const committed = workers.committed(count)
  await Promise.race([committed, sendCallbacks(bench, ingest, callbacks)])
  await committed
  const seconds = (performance.now() - startedAt) / 1_000
  return {
    perSecond: count / seconds,
    workerMs: (1_000 * (workers.cpuSeconds() - workerBefore)) / count,
    ingestMs: (1_000 * (cpuSecondsOf(ingest.pid) - ingestBefore)) / count,
    peakRssBytes: workers.peakRssBytes(),
  }
}

function report(
  lines: Readonly<Partial<Record<Digest, Line>>>,
  count: number,
  failures: readonly string[],
): Section {
  const column = (digest: Digest, of: (round: Round) => number, digits: number) => {
    const rounds = lines[digest]?.rounds ?? []
    return rounds.length > 0 ? show(spreadOf(rounds.map(of)), digits) : "failed"
  }
  const targets: Target[] = DIGESTS.flatMap((digest) => {
    const rounds = lines[digest]?.rounds ?? []
    if (rounds.length === 0) return []
    const rate = spreadOf(rounds.map(({ perSecond }) => perSecond))
    return [
      {
        claim: `≥ ${TARGET_PER_SECOND}/s with one worker process, digest ${digest}`,
        measured: `${show(rate, 0)}/s`,
        reached: rate.median >= TARGET_PER_SECOND,
      },
    ]
  })
  return {
    conditions: `${count} archives of 1 MiB: signed callbacks over 64 connections → one ingest → Redis (\`appendfsync always\`) → one worker process → S3, from the first callback to the last commit, records included. Everything shares the machine's cores.`,
    columns: [
      "digest",
      "archives/s",
      "worker CPU ms/archive",
      "ingest CPU ms/archive",
      "worker's peak RSS MiB",
    ],
    rows: DIGESTS.map((digest) => [
      digest,
      column(digest, ({ perSecond }) => perSecond, 0),
      column(digest, ({ workerMs }) => workerMs, 2),
      column(digest, ({ ingestMs }) => ingestMs, 2),
      column(digest, ({ peakRssBytes }) => peakRssBytes / 2 ** 20, 0),
    ]),
    targets,
    settings: Object.values(lines).flatMap(({ workers, ingest }): [string, string][] => [
      ["worker", workers.settings],
      ["ingest", ingest.settings],
    ]),
    failures,
  }
}

/** Checks that every archive is at its destination, whole and correct, with its record beside it. */
async function wrongOutputs(bench: Bench, count: number): Promise<string[]> {
  const expected = await bench.expected(ARCHIVE_BYTES)
  const { objects, openUploads } = await bench.endpoint.written()
  const archives = objects.filter(({ key }) => key.endsWith(".ts"))
  const right = archives.filter(({ size, crc32c }) => size === expected.size && crc32c === expected.crc32c)
  const records = objects.length - archives.length
  return right.length === count && archives.length === count && records === count && openUploads === 0
    ? []
    : [
        `${right.length} of ${count} archives are right, with ${records} records and ${openUploads} open uploads`,
      ]
}
