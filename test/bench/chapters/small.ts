import type { Bench } from "../bench-context.ts"
import { type Callbacks, prepareCallbacks, sendCallbacks } from "../callbacks.ts"
import { startIngest } from "../ingest-process.ts"
import { cpuSecondsOf } from "../measure.ts"
import type { Section } from "../report.ts"
import { type Spread, show, spreadOf } from "../statistics.ts"
import { startWorkers } from "../unseal.ts"
import type { Chapter } from "./chapter.ts"

const ARCHIVE_BYTES = 1024 * 1024
const TARGET_PER_SECOND = 500

interface Round {
  readonly perSecond: number
  readonly workerMs: number
  readonly ingestMs: number
  readonly peakRssBytes: number
}

export const small: Chapter = {
  name: "small",
  title: "Many small archives through the whole system",
  async run(bench) {
    const count = bench.options.quick ? 300 : 3_000
    const workers = await startWorkers(bench, { origin: bench.endpoint, archiveBytes: ARCHIVE_BYTES })
    const ingest = await startIngest(bench, { queue: workers.queue, auth: "signed" })
    const rounds: Round[] = []
    const failures: string[] = []
    try {
      await bench.expected(ARCHIVE_BYTES)
      // Round 0 warms up.
      for (let round = 0; round <= bench.options.rounds; round++) {
        const callbacks = prepareCallbacks(bench, count)
        await bench.endpoint.forget()
        const figures = await throughTheSystem(callbacks)
        failures.push(...(await wrongOutputs(bench, count)))
        bench.say(`  round ${round}: ${figures.perSecond.toFixed(0)} archives/s`)
        if (round > 0) rounds.push(figures)
      }
    } catch (error) {
      failures.push((error as Error).message)
    } finally {
      await ingest.stop()
      await workers.close()
    }
    return report(rounds, failures)

    async function throughTheSystem(callbacks: Callbacks): Promise<Round> {
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

    function report(rounds: readonly Round[], failures: readonly string[]): Section {
      const column = (of: (round: Round) => number, digits: number) =>
        rounds.length > 0 ? show(spreadOf(rounds.map(of)), digits) : "failed"
      const rate: Spread | undefined =
        rounds.length > 0 ? spreadOf(rounds.map(({ perSecond }) => perSecond)) : undefined
      return {
        conditions: `${count} archives of 1 MiB: signed callbacks over 64 connections → one ingest → Redis (${redisSettings}) → one worker process → S3, from the first callback to the last commit, the record of each included. All of it shares the machine's cores.`,
        columns: [
          "",
          "archives/s",
          "worker CPU ms/archive",
          "ingest CPU ms/archive",
          "worker's peak RSS MiB",
        ],
        rows: [
          [
            "whole system",
            column(({ perSecond }) => perSecond, 0),
            column(({ workerMs }) => workerMs, 2),
            column(({ ingestMs }) => ingestMs, 2),
            column(({ peakRssBytes }) => peakRssBytes / 2 ** 20, 0),
          ],
        ],
        targets: rate
          ? [
              {
                claim: `≥ ${TARGET_PER_SECOND}/s with one worker process`,
                measured: `${show(rate, 0)}/s`,
                reached: rate.median >= TARGET_PER_SECOND,
              },
            ]
          : [],
        settings: [
          ["worker", workers.settings],
          ["ingest", ingest.settings],
        ],
        failures,
      }
    }
  },
}

const redisSettings = "`appendfsync always`"

/** Every archive at its destination, whole and right, with its record beside it. */
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
