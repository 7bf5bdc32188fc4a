import { type Contender, contest, timesAsFast } from "../contest.ts"
import { COST_COLUMNS, costColumns, failuresOf, mebibytes, settingsOf } from "../report.ts"
import { show } from "../statistics.ts"
import { workerContender } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

const ROUND_TRIP_MS = 20
/** The default number of parts, and more. */
const PARTS_IN_FLIGHT = [8, 16, 32]

export const distance: Chapter = {
  name: "distance",
  title: `With round trips of ${ROUND_TRIP_MS} ms`,
  async run(bench) {
    const { archiveBytes } = bench.options
    const workers: Awaited<ReturnType<typeof workerContender>>[] = []
    const start = async (name: string, env: Record<string, string>, delayMs: number): Promise<Contender> => {
      const started = await workerContender(bench, name, { origin: bench.endpoint, archiveBytes, env })
      workers.push(started)
      return {
        ...started.contender,
        async run() {
          await bench.endpoint.delay(delayMs)
          try {
            return await started.contender.run()
          } finally {
            await bench.endpoint.delay(0)
          }
        },
      }
    }
    try {
      const contenders = [await start("loopback", {}, 0)]
      for (const parts of bench.options.quick ? PARTS_IN_FLIGHT.slice(0, 2) : PARTS_IN_FLIGHT)
        contenders.push(
          await start(
            `${ROUND_TRIP_MS} ms, ${parts} parts in flight`,
            { UNSEAL_PARTS_IN_FLIGHT: String(parts) },
            ROUND_TRIP_MS,
          ),
        )
      const standings = await contest(bench, archiveBytes, contenders)
      const [loopback, ...distant] = standings
      const comparable = distant.filter(({ costs }) => costs.length > 0 && loopback!.costs.length > 0)
      const shares = comparable.map((standing) => timesAsFast(standing, loopback!))
      const best = shares.toSorted((a, b) => b.median - a.median)[0]
      return {
        conditions: `One archive of ${mebibytes(archiveBytes)}, worker. The endpoint delays each response, and each new connection, by ${ROUND_TRIP_MS} ms. It does not limit the bandwidth of a connection.`,
        columns: ["", ...COST_COLUMNS, "of loopback's throughput"],
        rows: standings.map((standing) => [
          standing.contender.name,
          ...costColumns(standing, archiveBytes),
          comparable.includes(standing) ? `${show(shares[comparable.indexOf(standing)]!, 2)}×` : "",
        ]),
        targets: best
          ? [
              {
                claim: "≥ 0.8× the loopback throughput",
                measured: `${show(best, 2)}×`,
                reached: best.median >= 0.8,
              },
            ]
          : [],
        settings: settingsOf(standings),
        failures: failuresOf(standings),
      }
    } finally {
      for (const { workers: started } of workers) await started.close()
    }
  },
}
