import { contest, type Standing } from "../contest.ts"
import { COST_COLUMNS, costColumns, failuresOf, mebibytes, settingsOf } from "../report.ts"
import { startWorkers, workerContender } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

const MIB = 1024 * 1024
const LIMIT_BYTES = 220 * MIB

export const memory: Chapter = {
  name: "memory",
  title: "Memory against size",
  async run(bench) {
    const sizes = (bench.options.quick ? [64, 256, 768] : [256, 1024, 4096, 10_240]).map((mib) => mib * MIB)
    // The first start in a checkout strips and compiles the sources. Later starts reuse the result.
    await (await startWorkers(bench, { origin: bench.endpoint, archiveBytes: sizes[0]! })).close()
    // One round of each size shows the peak. No bodies are kept, because 10 GiB would not fit.
    const results: { size: number; standing: Standing }[] = []
    for (const archiveBytes of sizes) {
      // One process for each size, because a peak covers a process's whole life.
      const name = `worker, ${mebibytes(archiveBytes)}`
      const { contender, workers } = await workerContender(bench, name, {
        origin: bench.endpoint,
        archiveBytes,
      })
      try {
        const [standing] = await contest(bench, archiveBytes, [contender], { warmUp: false, rounds: 1 })
        results.push({ size: archiveBytes, standing: standing! })
      } finally {
        await workers.close()
      }
    }
    const standings = results.map(({ standing }) => standing)
    const peaks = standings.flatMap(({ costs }) => costs.map(({ peakRssBytes }) => peakRssBytes))
    const [least, most] = [Math.min(...peaks), Math.max(...peaks)]
    return {
      conditions: "One worker process for each size, which decrypts one archive; digests on, the default.",
      columns: ["archive", ...COST_COLUMNS],
      rows: results.map(({ size, standing }) => [mebibytes(size), ...costColumns(standing, size)]),
      targets: [
        {
          claim: "peak RSS ≤ 220 MiB, flat within 10 %",
          measured: `${Math.round(least / MIB)}–${Math.round(most / MIB)} MiB`,
          reached: peaks.length === sizes.length && most <= LIMIT_BYTES && most <= 1.1 * least,
        },
      ],
      settings: settingsOf(standings.slice(0, 1)),
      failures: failuresOf(standings),
    }
  },
}
