/** Writes docs/scaling.md and its picture. */
import { writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { resolve } from "node:path"
import { readParameters } from "./parameters.ts"
import { clock, type Sample } from "./picture.ts"
import { ARCHIVE_BYTES, type Simulation } from "./simulation.ts"

export interface Outcome {
  readonly samples: readonly Sample[]
  /** Archives of the run, each of which stands for several. */
  readonly recorded: number
  readonly accepted: number
  readonly committed: number
  readonly deadLetters: number
  readonly missing: number
  /** Of the workers that were stopped. */
  readonly exitCodes: readonly (number | null)[]
  readonly handedBack: number
  readonly locksLost: number
  readonly stalled: number
  readonly retried: number
  /** Of the day, from an archive's callback to its commit. */
  readonly longestSeconds: number
  /** Of the workers that ran at the end. */
  readonly peakMemoryMib: number
}

const DOCS = resolve(import.meta.dirname, "../../docs")

export function write(outcome: Outcome, picture: string, simulation: Simulation): void {
  writeFileSync(resolve(DOCS, "scaling.svg"), picture)
  writeFileSync(resolve(DOCS, "scaling.md"), page(outcome, simulation))
}

function page({ samples, recorded, exitCodes, handedBack, ...rest }: Outcome, simulation: Simulation) {
  const { scale, archivesInOne, linkBytesPerSecond } = simulation
  const [first, last] = [samples[0]!.hour, samples.at(-1)!.hour].map(clock)
  const minutes = Math.round(((samples.at(-1)!.hour - samples[0]!.hour) * 60) / scale.time)
  const most = (of: (sample: Sample) => number) => Math.max(...samples.map(of))
  const workerHours = samples.reduce((sum, { replicas }) => sum + replicas, 0) / 60
  const terabytes = (recorded * archivesInOne * ARCHIVE_BYTES) / 1e12
  const inMinutes = (seconds: number) => `${(seconds / 60).toFixed(1)} minutes`
  const rows: readonly (readonly [string, string])[] = [
    ["archives recorded, and committed", `${recorded.toLocaleString("en")} (${terabytes.toFixed(1)} TB)`],
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
      `${inMinutes(most(({ ageSeconds }) => ageSeconds))} (objective: 15)`,
    ],
    ["longest time from a callback to its recording", inMinutes(rest.longestSeconds)],
  ]
  return `# Scaling

<!-- Written by npm run test:scaling -- --write from a run. Change the code, not this file. -->

How many workers you need depends on bytes, not on archives. KEDA or an HPA starts and stops workers by two numbers:

- **Backlog**: the bytes of the archives that wait or run, as their callbacks announce them (\`unseal_queue_backlog_bytes\`). One worker for each 30 GB. Archives that wait for a missing object or for a suspended store don't count, because no worker would help them. While the queue is paused, no archive counts as waiting.
- **Age**: how long the oldest live archive has waited (\`unseal_queue_oldest_seconds\`). One worker for each minute. This covers many tiny archives, and sizes that are announced wrongly.

Archives in the bulk lane count with their bytes, so a backfill starts workers like any backlog. Their age does not count: they wait for live archives, for days if need be. For a backfill that starts no workers, subtract \`unseal_queue_lane_bytes{lane="bulk"}\` in the query. This was not tried on a cluster.

The larger number counts. A worker that is stopped hands its archives back within 5 s, and no attempt is used. So scaling in fails no archive.

## A morning with a peak

![Workers, backlog and age from ${first} to ${last}](scaling.svg)

| | |
|---|--:|
${rows.map(([name, value]) => `| ${name} | ${value} |`).join("\n")}

An archive that is handed back keeps its age. So where workers stop, the wait of the oldest rises for a moment.

\`npm run test:scaling\` makes this run, with the real ingest, Redis, workers and Prometheus. It fails if an archive fails, if a stopped worker does not end with 0, or if the oldest archive waits longer than 15 minutes. Three things are made up:

- Time ran ${scale.time} times as fast: these hours took ${minutes} minutes. The windows of Prometheus and of the queries are divided by ${scale.time}; those of the autoscaler are in the day's time. A worker does not start faster: each second of its start counts as ${scale.time} seconds, as if the cluster had to add a node first.
- An archive of 1 MiB stands for ${archivesInOne} archives of 1.5 GB, and each worker's network carries ${Math.round(linkBytesPerSecond / 1e3)} kB/s, which stands for 100 MB/s. So the number of workers decides the throughput, not the ${availableParallelism()} cores of the machine. Many real workers are faster ([performance.md](performance.md)).
- A small controller stands for Kubernetes. It follows the published rules of the HorizontalPodAutoscaler, which KEDA uses too: tolerance, stabilization, policies. It runs with the parameters below. No cluster was at hand.

${parametersSection()}

[kubernetes.md](kubernetes.md#sizing) says how to choose your own values.
`
}

/** The page's part about the parameters, from k8s/components/keda. A test compares it with the page, and so with the run. */
export function parametersSection(): string {
  const { autoscaler, queries } = readParameters()
  const policies = (given: (typeof autoscaler)["scaleUp"]) =>
    given.policies
      .map(
        ({ type, value, periodSeconds }) =>
          `${value} ${type === "Percent" ? "%" : "pods"} in ${periodSeconds} s`,
      )
      .join(" or ")
  return `## The parameters

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
\`\`\``
}
