import { contest, timesAsFast } from "../contest.ts"
import { COST_COLUMNS, costColumns, failuresOf, mebibytes, settingsOf } from "../report.ts"
import { show } from "../statistics.ts"
import { workerContender } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

/** Enough to keep two processes busy to the end. */
const ARCHIVES = 8

export const processes: Chapter = {
  name: "processes",
  title: "Two worker processes",
  async run(bench) {
    const archiveBytes = bench.options.archiveBytes / (bench.options.quick ? 8 : 4)
    const passage = { origin: bench.endpoint, archiveBytes, archives: ARCHIVES }
    const one = await workerContender(bench, "one process", passage)
    // Each process gets half of the archives, so both end together.
    const two = await workerContender(bench, "two processes", {
      ...passage,
      processes: 2,
      env: { UNSEAL_CONCURRENCY: String(ARCHIVES / 2) },
    })
    try {
      const standings = await contest(bench, archiveBytes, [one.contender, two.contender])
      const [single, both] = standings as [(typeof standings)[0], (typeof standings)[0]]
      const comparable = single.costs.length > 0 && both.costs.length > 0
      const gain = comparable ? timesAsFast(both, single) : undefined
      return {
        conditions: `${ARCHIVES} archives of ${mebibytes(archiveBytes)} at once; the endpoint shares the machine's cores with them.`,
        columns: ["", ...COST_COLUMNS],
        rows: standings.map((standing) => [
          standing.contender.name,
          ...costColumns(standing, ARCHIVES * archiveBytes),
        ]),
        targets: gain
          ? [{ claim: "two ≥ 1.5× one", measured: `${show(gain, 2)}×`, reached: gain.median >= 1.5 }]
          : [],
        settings: settingsOf(standings),
        failures: failuresOf(standings),
      }
    } finally {
      await Promise.all([one.workers.close(), two.workers.close()])
    }
  },
}
