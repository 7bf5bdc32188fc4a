/**
 * `npm run test:scaling`: a day with a morning peak, in six minutes (`--speed` 120). Everything is real but two: time runs faster, and a small
 * controller stands for Kubernetes. It asks a real Prometheus with the queries of k8s/components/keda, follows the autoscaler's
 * rules, and starts and stops worker processes. `--write` puts the result into docs/scaling.md.
 */
import { readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { readAccounts } from "@unseal/queue/accounting"
import { queueKey } from "@unseal/queue/names"
import { Redis } from "ioredis"
import type { LogLine } from "../harness/process.ts"
import { startPrometheus } from "../harness/prometheus.ts"
import { type SystemWorker, startSystem } from "../harness/system.ts"
import { createAutoscaler } from "./autoscaler.ts"
import { FIRST_HOUR, LAST_HOUR, recordedUntil } from "./day.ts"
import { readParameters } from "./parameters.ts"
import { draw, type Sample } from "./picture.ts"
import { type Outcome, scaleOf, write } from "./report.ts"
import { startSlowProxy } from "./slow-proxy.ts"

const QUEUE = "unseal"
/** An archive, which stands for 1.5 GB. */
const ARCHIVE_BYTES = 262_144
/** Of the day: 100 MB/s of one worker. */
const WORKER_ARCHIVES_PER_SECOND = 100e6 / 1.5e9
const CONCURRENCY = 2
/** Of a small archive. */
const REQUESTS = 4
/** Of the day: PodMonitor's interval, the HPA's period. */
const SCRAPE_SECONDS = 30
const SYNC_SECONDS = 15
const OBJECTIVE_SECONDS = 15 * 60

const AGE = "max(unseal_queue_oldest_seconds)"
const BACKLOG = 'sum(max by (state) (unseal_queue_backlog_bytes{state=~"waiting|active"}))'

const { values } = parseArgs({
  options: {
    write: { type: "boolean", default: false },
    speed: { type: "string", default: "120" },
    hours: { type: "string", default: String(LAST_HOUR - FIRST_HOUR) },
  },
})

const SCALE = scaleOf(Number(values.speed))
/** As slow as the store must be for a worker's throughput. */
const REQUEST_MS = (1_000 * CONCURRENCY) / (REQUESTS * WORKER_ARCHIVES_PER_SECOND * SCALE.time) - 5
const parameters = readParameters(SCALE)
const log = (text: string) => process.stderr.write(`${text}\n`)
const counts = { handedBack: 0, deadLetters: 0, locksLost: 0 }
const count = (_: string, { msg }: LogLine) => {
  if (msg === "archive handed back") counts.handedBack++
  if (msg === "archive is a dead letter") counts.deadLetters++
  if (String(msg).startsWith("archive's lock was lost")) counts.locksLost++
}

/** Like the autoscaler, which keeps the number of workers if it gets no answer. */
const ask = (query: string) => prometheus.query(query).catch(() => null)

const proxy = await startSlowProxy(REQUEST_MS)
const prometheus = await startPrometheus((SCRAPE_SECONDS * 1_000) / SCALE.time)
const system = await startSystem({
  ...{ store: "s3", workers: 0, onLine: count },
  workerEnv: { HTTP_PROXY: proxy.url, UNSEAL_CONCURRENCY: String(CONCURRENCY) },
  simulatorEnv: { SIMULATOR_PARALLELISM: "16", LOG_LEVEL: "error" },
})
const redis = new Redis(system.redis.url)
let interrupted = false
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => {
    interrupted = true
  })
let failed = false
try {
  const outcome = await liveThroughTheDay(Number(values.hours))
  failed = !judge(outcome)
  if (values.write && !failed) write(outcome, draw(outcome.samples, OBJECTIVE_SECONDS), SCALE)
} finally {
  redis.disconnect()
  await system.close()
  await prometheus.close()
  await proxy.close()
}
process.exitCode = failed ? 1 : 0

async function liveThroughTheDay(hours: number): Promise<Outcome> {
  const autoscaler = createAutoscaler(parameters.autoscaler)
  const running: SystemWorker[] = []
  const leaving = new Set<Promise<unknown>>()
  const exitCodes: (number | null)[] = []
  let starting = 0
  let wanted = parameters.autoscaler.minReplicas
  let trouble: unknown
  /** Work that goes on beside the day; a failure of it ends the day. */
  const beside = (work: Promise<unknown>): void => {
    const handled = work.catch((error: unknown) => {
      trouble ??= error
    })
    leaving.add(handled)
    void handled.then(() => leaving.delete(handled))
  }
  const scrape = () => prometheus.scrape([...running, system.ingest].map(({ ports }) => ports.admin!))

  function resize(): void {
    while (running.length + starting < wanted) {
      starting++
      beside(
        system.startWorker().then((worker) => {
          starting--
          running.push(worker)
          return scrape()
        }),
      )
    }
    // Like Kubernetes, which prefers the youngest pods.
    while (running.length > wanted) {
      const stopping = running.pop()!.stop()
      beside(stopping.then((code) => void exitCodes.push(code)))
      beside(scrape())
    }
  }

  resize()
  await Promise.all(leaving)
  await sleep(3_000)
  const samples: Sample[] = []
  const startedAt = performance.now()
  let recorded = 0
  let nextSync = 0
  let nextSample = 0
  for (;;) {
    if (interrupted) throw new Error("interrupted")
    if (trouble !== undefined) throw trouble
    const seconds = ((performance.now() - startedAt) / 1_000) * SCALE.time
    const hour = FIRST_HOUR + seconds / 3_600
    const isOver = seconds >= hours * 3_600
    const due = isOver ? 0 : recordedUntil(hour) - recorded
    if (due > 0) {
      // A machine that is busy may answer too late; then they are recorded a moment later.
      const taken = await system.record({ size: ARCHIVE_BYTES, exact: true, count: due }).then(
        () => true,
        (error: Error) => void log(error.message),
      )
      if (taken) recorded += due
    }
    if (seconds >= nextSync) {
      nextSync = seconds + SYNC_SECONDS
      const [bytes, age] = await Promise.all([ask(parameters.queries.bytes), ask(parameters.queries.age)])
      wanted = autoscaler.decide(
        running.length + starting,
        bytes === null || age === null ? null : Math.max(bytes, age),
        seconds,
      )
      resize()
    }
    if (seconds >= nextSample) {
      nextSample = seconds + 60
      const [backlog, age] = await Promise.all([ask(BACKLOG), ask(AGE)])
      if (backlog === null || age === null) continue
      samples.push({
        hour,
        replicas: running.length,
        wanted,
        backlogBytes: backlog * SCALE.bytes,
        ageSeconds: age * SCALE.time,
      })
      if (samples.length % 30 === 0)
        log(
          `${hour.toFixed(1)} h: ${running.length} of ${wanted} workers, ${((backlog * SCALE.bytes) / 1e9).toFixed(0)} GB, oldest ${(age * SCALE.time).toFixed(0)} s`,
        )
    }
    if (isOver) {
      const { live, accepted } = await readAccounts(redis, QUEUE)
      if ((live === 0 && accepted === recorded) || seconds > hours * 3_600 + 7_200) break
    }
    await sleep(40)
  }
  await Promise.all(leaving)
  const { accepted, committed, deadLetters, missing } = await readAccounts(redis, QUEUE)
  const ids = await redis.zrange(queueKey(QUEUE, "completed"), 0, "-1")
  const facts = await Promise.all(ids.map((id) => redis.hmget(queueKey(QUEUE, id), "stc", "atm")))
  return {
    ...{ samples, recorded, accepted, committed, deadLetters, missing, exitCodes },
    ...{ handedBack: counts.handedBack, locksLost: counts.locksLost },
    stalled: facts.filter(([stalled]) => Number(stalled ?? 0) > 0).length,
    retried: facts.filter(([, attempts]) => Number(attempts ?? 1) > 1).length,
    peakMemoryMib: Math.max(...running.map(({ pid }) => peakOf(pid))),
  }
}

/** The most memory that a process has had in RAM. */
function peakOf(pid: number): number {
  const [, kib = "0"] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? []
  return Number(kib) / 1024
}

/** Says how the day went, and whether it went as it must. */
function judge(outcome: Outcome): boolean {
  const oldest = Math.max(...outcome.samples.map(({ ageSeconds }) => ageSeconds))
  const most = Math.max(...outcome.samples.map(({ replicas }) => replicas))
  log(JSON.stringify({ ...outcome, samples: outcome.samples.length, oldest, most }))
  const demands: readonly [string, boolean][] = [
    ["every recorded archive is committed", outcome.committed === outcome.recorded && outcome.missing === 0],
    [
      "no archive is a dead letter, has used a second attempt, or was lost by its worker",
      outcome.deadLetters + outcome.retried + outcome.stalled + outcome.locksLost === 0,
    ],
    [
      "every worker that was told to stop has ended with 0",
      outcome.exitCodes.length > 0 && outcome.exitCodes.every((code) => code === 0),
    ],
    [
      `the oldest archive never waited longer than ${OBJECTIVE_SECONDS / 60} minutes`,
      oldest <= OBJECTIVE_SECONDS,
    ],
    ["workers were added and removed again", most > 2 && outcome.samples.at(-1)!.wanted < most],
  ]
  for (const [demand, holds] of demands) log(`${holds ? "holds" : "FAILS"}: ${demand}`)
  return demands.every(([, holds]) => holds)
}
