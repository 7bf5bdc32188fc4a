/** Writes docs/scaling.md and its picture. */
import { writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { resolve } from "node:path"
import type { Scale } from "./parameters.ts"
import { readParameters } from "./parameters.ts"
import type { Sample } from "./picture.ts"

/** Time runs `speed` times as fast, and an archive of 256 KiB stands for one of 1.5 GB. */
export const scaleOf = (speed: number): Scale => ({ time: speed, bytes: 1.5e9 / 262_144 })

export interface Outcome {
  readonly samples: readonly Sample[]
  readonly recorded: number
  readonly accepted: number
  readonly committed: number
  readonly deadLetters: number
  readonly missing: number
  /** Of the workers that were stopped during the day. */
  readonly exitCodes: readonly (number | null)[]
  readonly handedBack: number
  readonly locksLost: number
  readonly stalled: number
  readonly retried: number
  /** Of the workers that ran at the end. */
  readonly peakMemoryMib: number
}

const DOCS = resolve(import.meta.dirname, "../../docs")

export function write(outcome: Outcome, picture: string, scale: Scale): void {
  writeFileSync(resolve(DOCS, "scaling.svg"), picture)
  writeFileSync(resolve(DOCS, "scaling.md"), page(outcome, scale))
}

function page({ samples, recorded, exitCodes, handedBack, ...rest }: Outcome, { time }: Scale): string {
  const [first, last] = [samples[0]!.hour, samples.at(-1)!.hour].map(Math.round) as [number, number]
  const minutes = Math.round(((samples.at(-1)!.hour - samples[0]!.hour) * 60) / time)
  const { autoscaler, queries } = readParameters()
  const most = (of: (sample: Sample) => number) => Math.max(...samples.map(of))
  const workerHours = samples.reduce((sum, { replicas }) => sum + replicas, 0) / 60
  const rows: readonly (readonly [string, string])[] = [
    [
      "archives recorded, and committed",
      `${recorded.toLocaleString("en")} (${((recorded * 1.5) / 1_000).toFixed(1)} TB)`,
    ],
    [
      "dead letters, second attempts, lost locks, stalled jobs",
      String(rest.deadLetters + rest.retried + rest.locksLost + rest.stalled),
    ],
    [
      "workers",
      `1 to ${most(({ replicas }) => replicas)}; ${workerHours.toFixed(0)} hours of a worker in all`,
    ],
    ["workers stopped, each with exit code 0", String(exitCodes.length)],
    ["archives that they handed back, to be begun again at once", String(handedBack)],
    ["largest backlog", `${(most(({ backlogBytes }) => backlogBytes) / 1e9).toFixed(0)} GB`],
    [
      "longest wait of the oldest archive",
      `${(most(({ ageSeconds }) => ageSeconds) / 60).toFixed(1)} minutes (objective: 15)`,
    ],
  ]
  const policies = (given: (typeof autoscaler)["scaleUp"]) =>
    given.policies
      .map(
        ({ type, value, periodSeconds }) =>
          `${value} ${type === "Percent" ? "%" : "pods"} in ${periodSeconds} s`,
      )
      .join(" or ")
  return `# Scaling

<!-- Written by npm run test:scaling -- --write from a run. Change the code, not this file. -->

How many workers are needed depends on bytes, not on archives. KEDA or an HPA starts and stops them by two numbers that workers show:

- **Backlog**: the bytes of the archives that wait or run, as their callbacks announce them (\`unseal_queue_backlog_bytes\`). One worker for each 30 GB. Archives that wait for a missing object or for a suspended store don't count, because no worker would help them. While the queue is paused, nothing waits.
- **Age**: how long the oldest archive has waited (\`unseal_queue_oldest_seconds\`). One worker for each minute. This covers many tiny archives, and sizes that are announced wrongly.

The larger number counts. A worker that is stopped hands its archives back within 5 s, and no attempt is used. So scaling in fails no archive.

## A day with a morning peak

![Workers, backlog and age from ${first}:00 to ${last}:00](scaling.svg)

| | |
|---|--:|
${rows.map(([name, value]) => `| ${name} | ${value} |`).join("\n")}

\`npm run test:scaling\` makes this run. From 6:00 to 17:00 at its default speed, it takes under six minutes. It fails if an archive fails, if a stopped worker does not end with 0, or if the oldest archive waits longer than 15 minutes. It has the real ingest, Redis, workers and Prometheus. Three things are made up:

- Time ran ${time} times as fast, so these hours took ${minutes} minutes. All windows and periods are divided by ${time}. Starting a worker is not faster: each second of it counts as ${time} seconds, as if the cluster had to add a node first.
- An archive of 256 KiB stands for one of 1.5 GB, and requests to the store are slowed down so that a worker has the throughput of 100 MB/s. Many real workers are faster ([performance.md](performance.md)).
- A small controller stands for Kubernetes. It follows the published rules of the HorizontalPodAutoscaler, which KEDA uses too: tolerance, stabilization, policies. It runs with the parameters of [k8s/components/keda](../k8s/components/keda/scaled-object.yaml). No cluster was at hand.

The run was on a machine with ${availableParallelism()} cores.

## The parameters

| parameter | value | why |
|---|---|---|
| workers | ${autoscaler.minReplicas} to ${autoscaler.maxReplicas} | never 0: a running worker begins the archives whose delay is over |
| bytes for each worker | 30 GB | five minutes of work at 100 MB/s. Measure yours: \`rate(unseal_bytes_total{direction="written"}[5m])\` of a busy worker, times 300 s |
| wait for each worker | 60 s | with 15 minutes as the objective, 15 workers run before it is missed |
| scale-out | ${policies(autoscaler.scaleUp)}, at once | a burst is seen within a scrape and a sync |
| scale-in | ${policies(autoscaler.scaleDown)}, after ${autoscaler.scaleDown.stabilizationWindowSeconds} s | recordings end in bursts. A shorter window stops workers between two bursts |

The queries:

\`\`\`
${queries.bytes}
\`\`\`

\`\`\`
${queries.age}
\`\`\`

[kubernetes.md](kubernetes.md#sizing) says how to choose your own values.
`
}
