import { contest, timesAsFast } from "../contest.ts"
import { COST_COLUMNS, costColumns, failuresOf, mebibytes, settingsOf } from "../report.ts"
import { show } from "../statistics.ts"
import { workerContender } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

const LIMIT = 1.35

export const digests: Chapter = {
  name: "digests",
  title: "Digests on and off",
  async run(bench) {
    const { archiveBytes } = bench.options
    const start = (name: string, digest: string) =>
      workerContender(bench, name, { origin: bench.endpoint, archiveBytes, env: { UNSEAL_DIGEST: digest } })
    const off = await start("off (CRC-32 only)", "none")
    const on = await start("on (SHA-256 of the plaintext)", "sha256")
    try {
      const standings = await contest(bench, archiveBytes, [off.contender, on.contender])
      const [without, withDigest] = standings as [(typeof standings)[0], (typeof standings)[0]]
      const comparable = without.costs.length > 0 && withDigest.costs.length > 0
      const longer = comparable ? timesAsFast(without, withDigest) : undefined
      return {
        conditions: `One archive of ${mebibytes(archiveBytes)}, worker.`,
        columns: ["digests", ...COST_COLUMNS],
        rows: standings.map((standing) => [standing.contender.name, ...costColumns(standing, archiveBytes)]),
        targets: longer
          ? [
              {
                claim: `on ≤ ${LIMIT}× the time of off`,
                measured: `${show(longer, 2)}×`,
                reached: longer.median <= LIMIT,
              },
            ]
          : [],
        settings: settingsOf(standings),
        failures: failuresOf(standings),
      }
    } finally {
      await Promise.all([off.workers.close(), on.workers.close()])
    }
  },
}
