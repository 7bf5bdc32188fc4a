import { contest, type Standing, timesAsFast, timesTheCpu } from "../contest.ts"
import { peers } from "../peers.ts"
import { COST_COLUMNS, costColumns, failuresOf, mebibytes, settingsOf, type Target } from "../report.ts"
import { show } from "../statistics.ts"
import { commandLine, workerContender } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

/** The targets against each peer: the least multiple of its throughput, and the largest share of its CPU time. */
const TARGETS = [
  { peer: "a", speed: 4.5, cpu: 1 / 6 },
  { peer: "b", speed: 5, cpu: 1 / 7 },
  { peer: "d", speed: 3, cpu: 1 / 3.5 },
  { peer: "e", speed: 1.6, cpu: 1 / 2.5 },
  { peer: "floor", speed: 0.45, cpu: 1.9 },
] as const

export const large: Chapter = {
  name: "large",
  title: "One large archive",
  async run(bench) {
    const { archiveBytes, rounds, quick } = bench.options
    const passage = { origin: bench.endpoint, archiveBytes }
    const { contender: worker, workers } = await workerContender(bench, "**unseal worker**", {
      ...passage,
      // No peer computes a digest of the whole. The chapter on digests shows its cost.
      env: { UNSEAL_DIGEST: "none" },
    })
    try {
      const others = await peers(
        bench,
        passage,
        quick ? ["a", "b", "d", "e", "floor"] : ["a", "b", "c", "d", "e", "floor"],
      )
      const standings = await contest(bench, archiveBytes, [...others, commandLine(bench, passage), worker])
      const unseal = standings.at(-1)!
      return {
        conditions: `${mebibytes(archiveBytes)}, S3 → S3 over plain HTTP on loopback, ${rounds} interleaved rounds, median (range). The ratios are the worker's figures over each row's.`,
        columns: ["", ...COST_COLUMNS, "worker's throughput", "worker's CPU"],
        rows: standings.map((standing) => [
          standing.contender.name,
          ...costColumns(standing, archiveBytes),
          ...ratioColumns(unseal, standing),
        ]),
        targets: TARGETS.flatMap((target) => judge(target, unseal, standings)),
        settings: settingsOf(standings),
        failures: failuresOf(standings),
      }
    } finally {
      await workers.close()
    }
  },
}

function ratioColumns(unseal: Standing, standing: Standing): string[] {
  if (unseal.costs.length === 0 || standing.costs.length === 0 || standing === unseal) return ["", ""]
  return [`${show(timesAsFast(unseal, standing), 2)}×`, `${show(timesTheCpu(unseal, standing), 2)}×`]
}

function judge(
  { peer, speed, cpu }: (typeof TARGETS)[number],
  unseal: Standing,
  standings: readonly Standing[],
): Target[] {
  const standing = standings.find(({ contender }) => contender.name.startsWith(`${peer}:`))
  if (!standing || standing.costs.length === 0 || unseal.costs.length === 0) return []
  const [fast, cheap] = [timesAsFast(unseal, standing), timesTheCpu(unseal, standing)]
  return [
    {
      claim: `≥ ${speed}× the throughput of ${peer}, ≤ ${cpu.toFixed(2)}× its CPU`,
      measured: `${fast.median.toFixed(2)}×, ${cheap.median.toFixed(2)}×`,
      reached: fast.median >= speed && cheap.median <= cpu,
    },
  ]
}
