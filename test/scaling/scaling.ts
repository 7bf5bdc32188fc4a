/**
 * `npm run test:scaling`: two hours with a morning's peak, in ten minutes (`--speed` 12). Everything is real, with two
 * exceptions: time runs faster, and a small controller stands for Kubernetes. It asks a real Prometheus with the queries of
 * k8s/components/keda, follows the autoscaler's rules, and starts and stops worker processes. `--from` and `--to` take a part of
 * them, and `--write` puts the result into docs/scaling.md. It always ends by itself.
 */
import { readFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { readAccounts } from "@unseal/queue/accounting"
import { queueKey } from "@unseal/queue/names"
import { Redis } from "ioredis"
import type { LogLine } from "../harness/process.ts"
import { startPrometheus } from "../harness/prometheus.ts"
import { startSystem } from "../harness/system.ts"
import { FIRST_HOUR, LAST_HOUR } from "./day.ts"
import { live } from "./live.ts"
import { readParameters } from "./parameters.ts"
import { draw } from "./picture.ts"
import { createReplicas } from "./replicas.ts"
import { type Outcome, write } from "./report.ts"
import { simulationOf } from "./simulation.ts"

const QUEUE = "unseal"
/** PodMonitor's interval, in seconds of the day. */
const SCRAPE_SECONDS = 30
const OBJECTIVE_SECONDS = 15 * 60
/** To set up, to finish what was recorded, and to stop everything. */
const BESIDES_MS = 6 * 60_000
const CLOSE_MS = 120_000

const { values } = parseArgs({
  options: {
    write: { type: "boolean", default: false },
    speed: { type: "string", default: "12" },
    from: { type: "string", default: String(FIRST_HOUR) },
    to: { type: "string", default: String(LAST_HOUR) },
  },
})
const simulation = simulationOf(Number(values.speed))
const { scale } = simulation
const hours = { from: Number(values.from), to: Number(values.to) }
const parameters = readParameters(scale)
const log = (text: string) => process.stderr.write(`${text}\n`)
const ending = new AbortController()
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => ending.abort(new Error(name)))
const runMs = Math.round(((hours.to - hours.from) * 3_600_000) / scale.time) + BESIDES_MS
const tooLong = AbortSignal.timeout(runMs)
const signal = AbortSignal.any([ending.signal, tooLong])
// Whatever hangs, this process ends, and test/harness/orphans.ts ends the others.
setTimeout(() => {
  log(`not closed after ${(runMs + CLOSE_MS) / 1_000} s: ending`)
  process.exit(1)
}, runMs + CLOSE_MS).unref()

const counts = { handedBack: 0, locksLost: 0 }
const count = (_: string, { msg }: LogLine) => {
  if (msg === "archive handed back") counts.handedBack++
  if (String(msg).startsWith("archive's lock was lost")) counts.locksLost++
}

const closing: (() => unknown)[] = []
let succeeded = false
try {
  const outcome = await run()
  succeeded = judge(outcome)
  if (values.write && succeeded) write(outcome, draw(outcome.samples, OBJECTIVE_SECONDS), simulation)
} catch (error) {
  log(`the run broke off: ${(error as Error).stack}`)
} finally {
  for (let close = closing.pop(); close !== undefined; close = closing.pop())
    try {
      await close()
    } catch (error) {
      log(`not closed: ${(error as Error).message}`)
    }
}
process.exit(succeeded ? 0 : 1)

async function run(): Promise<Outcome> {
  const prometheus = await startPrometheus((SCRAPE_SECONDS * 1_000) / scale.time)
  closing.push(() => prometheus.close())
  const system = await startSystem({
    ...{ store: "s3", workers: 0, onLine: count },
    workerEnv: { UNSEAL_CONCURRENCY: "4" },
    simulatorEnv: { SIMULATOR_PARALLELISM: "16", LOG_LEVEL: "error" },
  })
  closing.push(() => system.close())
  const redis = new Redis(system.redis.url)
  closing.push(() => redis.disconnect())
  const replicas = createReplicas(system, simulation.linkBytesPerSecond, (running) =>
    prometheus.scrape([...running, system.ingest].map(({ ports }) => ports.admin!)),
  )
  closing.push(() => replicas.close())

  replicas.resize(parameters.autoscaler.minReplicas)
  await replicas.settled()
  const lived = await live({
    ...{ simulation, parameters, hours, system, prometheus, redis, replicas, signal, log },
    queue: QUEUE,
  })
  const peakMemoryMib = Math.max(...replicas.running.map(({ pid }) => peakOf(pid)))
  await replicas.close()
  return { ...lived, ...counts, peakMemoryMib, exitCodes: replicas.exitCodes, ...(await accountOf(redis)) }
}

async function accountOf(redis: Redis) {
  const { accepted, committed, deadLetters, missing } = await readAccounts(redis, QUEUE)
  const ids = await redis.zrange(queueKey(QUEUE, "completed"), 0, "-1")
  const facts = await Promise.all(
    ids.map((id) => redis.hmget(queueKey(QUEUE, id), "stc", "atm", "timestamp", "finishedOn")),
  )
  return {
    ...{ accepted, committed, deadLetters, missing },
    stalled: facts.filter(([stalled]) => Number(stalled ?? 0) > 0).length,
    retried: facts.filter(([, attempts]) => Number(attempts ?? 1) > 1).length,
    longestSeconds:
      Math.max(...facts.map(([, , accepted, finished]) => (Number(finished) - Number(accepted)) / 1_000)) *
      scale.time,
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
    [
      "every recorded archive is committed",
      outcome.committed === outcome.recorded &&
        outcome.accepted === outcome.recorded &&
        outcome.missing === 0,
    ],
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
