import { type OtlpReceiver, startOtlpReceiver } from "../../harness/otlp-receiver.ts"
import { startApp } from "../../harness/process.ts"
import type { Bench } from "../bench-context.ts"
import { contest, timesTheCpu } from "../contest.ts"
import { cpuSecondsOf, peakRssOf } from "../measure.ts"
import { CREDENTIAL } from "../peers.ts"
import { failuresOf, mebibytes, type Section, settingsOf } from "../report.ts"
import { type Spread, show, spreadOf } from "../statistics.ts"
import { PROJECT_ID, storeUrl, workerContender } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

/** Tracing costs most where a span has the fewest bytes. */
const SMALL_BYTES = 1024 * 1024
const SAMPLED = "0.05"

/** From the start of a worker to its line `listening`. */
interface Start {
  readonly cpuSeconds: number
  readonly rssBytes: number
}

export const tracing: Chapter = {
  name: "tracing",
  title: "Tracing off, sampled and on",
  async run(bench) {
    const { quick, archiveBytes } = bench.options
    const receiver = await startOtlpReceiver()
    // As a deployment has it, and without the decoding here.
    const on = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
    const sampled = {
      ...on,
      OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
      OTEL_TRACES_SAMPLER_ARG: SAMPLED,
    }
    const kinds = [
      ["off", {}],
      [`${Number(SAMPLED) * 100} % of traces`, sampled],
      ["on", on],
    ] as const
    const workloads = [
      { bytes: SMALL_BYTES, archives: quick ? 300 : 3_000 },
      { bytes: archiveBytes, archives: 1 },
    ]
    try {
      const standings = []
      for (const { bytes, archives } of workloads) {
        const open: Awaited<ReturnType<typeof workerContender>>[] = []
        try {
          for (const [name, env] of kinds)
            open.push(
              await workerContender(bench, name, {
                ...{ origin: bench.endpoint, archiveBytes: bytes, archives, env },
              }),
            )
          standings.push(
            await contest(
              bench,
              bytes,
              open.map(({ contender }) => contender),
            ),
          )
        } finally {
          for (const { workers } of open) await workers.close()
        }
      }
      return report(workloads, standings, await measureStarts(bench, receiver))
    } finally {
      await receiver.close()
    }
  },
}

async function measureStarts(bench: Bench, receiver: OtlpReceiver): Promise<readonly [Start[], Start[]]> {
  const starts: [Start[], Start[]] = [[], []]
  // Round 0 warms the disk's cache.
  for (let round = 0; round <= bench.options.rounds; round++)
    for (const [index, env] of [{}, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }].entries()) {
      const start = await measureStart(bench, env)
      if (round > 0) starts[index]!.push(start)
    }
  return starts
}

async function measureStart(bench: Bench, env: Readonly<Record<string, string>>): Promise<Start> {
  const process = await startApp("worker", {
    env: {
      ...{
        REDIS_URL: (await bench.redis()).url,
        UNSEAL_QUEUE: "bench-starts",
        UNSEAL_PROJECT_ID: PROJECT_ID,
      },
      ...{ UNSEAL_SOURCE: storeUrl("encrypted", bench.endpoint), UNSEAL_KEYS: bench.recording.keysDirectory },
      ...{ UNSEAL_DESTINATION: storeUrl("decrypted", bench.endpoint), UNSEAL_HOST: "127.0.0.1" },
      ...{ UNSEAL_ADMIN_PORT: "0", ...CREDENTIAL, ...env, ...bench.options.env },
    },
  })
  const start = { cpuSeconds: cpuSecondsOf(process.pid), rssBytes: peakRssOf(process.pid) }
  await process.stop()
  return start
}

function report(
  workloads: readonly { readonly bytes: number; readonly archives: number }[],
  standings: readonly Awaited<ReturnType<typeof contest>>[],
  [off, on]: readonly [Start[], Start[]],
): Section {
  const more = (of: keyof Start): Spread => spreadOf(on.map((start, round) => start[of] - off[round]![of]))
  const MIB = 1024 * 1024
  return {
    conditions: `One worker process, with a collector that takes everything. ${workloads.map(({ bytes, archives }) => `${archives} × ${mebibytes(bytes)}`).join(", and ")}. Ratios are relative to off. Until it listens, a worker with tracing takes ${show(more("cpuSeconds"), 2)} s more CPU, and ${(more("rssBytes").median / MIB).toFixed(0)} MiB more memory.`,
    columns: ["archives", "tracing", "CPU/archive"],
    rows: workloads.flatMap(({ bytes, archives }, index) => {
      const [base, ...others] = standings[index]!
      return others.map((standing) => {
        const comparable = base!.costs.length > 0 && standing.costs.length > 0
        return [
          `${archives} × ${mebibytes(bytes)}`,
          standing.contender.name,
          comparable ? `${show(timesTheCpu(standing, base!), 2)}×` : "failed",
        ]
      })
    }),
    targets: [],
    settings: settingsOf(standings[0]!),
    failures: standings.flatMap((each) => failuresOf(each)),
  }
}
