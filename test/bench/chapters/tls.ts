import { contest, timesAsFast } from "../contest.ts"
import { peers } from "../peers.ts"
import { COST_COLUMNS, costColumns, failuresOf, mebibytes, settingsOf } from "../report.ts"
import { show } from "../statistics.ts"
import { workerContender } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

export const tls: Chapter = {
  name: "tls",
  title: "TLS",
  async run(bench) {
    const { archiveBytes, quick } = bench.options
    const { endpoint } = bench
    const env = { UNSEAL_DIGEST: "none" }
    const plain = await workerContender(bench, "worker, plain HTTP", { origin: endpoint, archiveBytes, env })
    const secure = await workerContender(bench, "**worker, TLS**", {
      origin: endpoint.secure,
      archiveBytes,
      env,
    })
    try {
      const others = await peers(
        bench,
        { origin: endpoint.secure, archiveBytes },
        quick ? ["e"] : ["a", "b", "d", "e"],
      )
      const standings = await contest(bench, archiveBytes, [...others, plain.contender, secure.contender])
      const unseal = standings.at(-1)!
      return {
        conditions: `${mebibytes(archiveBytes)}; TLS 1.3 in both directions, with the bench's own certificate, except in the row for plain HTTP. The endpoint's side of TLS runs on the same cores.`,
        columns: ["", ...COST_COLUMNS, "worker's throughput over TLS"],
        rows: standings.map((standing) => [
          standing.contender.name,
          ...costColumns(standing, archiveBytes),
          standing === unseal || standing.costs.length === 0 || unseal.costs.length === 0
            ? ""
            : `${show(timesAsFast(unseal, standing), 2)}×`,
        ]),
        settings: settingsOf(standings),
        failures: failuresOf(standings),
      }
    } finally {
      await Promise.all([plain.workers.close(), secure.workers.close()])
    }
  },
}
