/**
 * Everything at a low rate for a long time: `npm run test:soak -- [--minutes 30] [--seed N]`. Every few seconds there is a kill, a
 * stop, a restart, or a fault of the store or of Redis. Memory and descriptors of the processes that survive must stay level.
 */

import { parseArgs } from "node:util"
import { inWorld, randomSize } from "./row.ts"
import { LOCK_MS } from "./settings.ts"
import { acceptedJobs, endedJobs, readJobs } from "./world/jobs.ts"
import { type Member, usageOf } from "./world/members.ts"
import type { World } from "./world/world.ts"

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "30" }, seed: { type: "string" } },
})
const minutes = Number(values.minutes)
const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9))
if (!(minutes > 0)) throw new RangeError("--minutes is a number above 0")

// Ends everything that this process has started.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1))

const say = (text: string) => void process.stderr.write(`${text}\n`)
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const FAULT_EVERY_MS = 8_000
const SAMPLE_EVERY_MS = 5_000
/** Per hour, once the processes have warmed up. */
const MOST_GROWTH = { residentMb: 120, descriptors: 40 }

interface Sample {
  readonly minute: number
  readonly residentMb: number
  readonly descriptors: number
}

say(`seed ${seed}, ${minutes} minutes`)
const result = await inWorld(
  { seed, scale: 1, progress: say },
  { workers: 3, ingests: 2, proxied: true },
  soak,
)
for (const { invariant, what } of result.violations.slice(0, 20)) say(`  ${invariant} ${what}`)
process.stdout.write(
  `| row | runs | demand | measured | pass |\n|---|---|---|---|---|\n| soak | ${result.runs} | memory and descriptor slopes about zero | ${result.measured} | ${result.violations.length === 0 ? "yes" : "no"} |\n`,
)
process.exit(result.violations.length > 0 ? 1 : 0)

async function soak(world: World) {
  const endsAt = Date.now() + minutes * 60_000
  // These two survive everything except the faults of Redis and the store.
  const watched = [world.ingests[0]!, world.workers[0]!]
  const samples = new Map<Member, Sample[]>(watched.map((member) => [member, []]))
  const startedAt = Date.now()
  const sampling = setInterval(() => {
    for (const member of watched)
      if (member.alive)
        samples.get(member)!.push({ minute: (Date.now() - startedAt) / 60_000, ...usageOf(member.pid) })
  }, SAMPLE_EVERY_MS)
  const calling = callAtLowRate(world, endsAt)
  let faults = 0
  try {
    while (Date.now() < endsAt) {
      await strike(world, watched, faults++)
      await sleep(FAULT_EVERY_MS)
      if (faults % 20 === 0) say(`  ${faults} faults, ${world.answers.length} callbacks`)
    }
    await calling
    world.s3.faults.clear()
    await world.settled(180_000)
  } finally {
    clearInterval(sampling)
  }
  const jobs = await readJobs(world)
  const failures: string[] = []
  const slopes = watched.map((member) => {
    const memory = slopePerHour(samples.get(member)!, "residentMb")
    const descriptors = slopePerHour(samples.get(member)!, "descriptors")
    // A short soak can't distinguish a slope from a wave.
    if (minutes >= 20 && (memory > MOST_GROWTH.residentMb || descriptors > MOST_GROWTH.descriptors))
      failures.push(`${member.name} grows by ${memory} MB and ${descriptors} descriptors an hour`)
    return `${member.name} ${memory} MB/h and ${descriptors} descriptors/h`
  })
  return {
    runs: `${minutes} minutes, ${faults} faults, ${world.answers.length} callbacks`,
    measured: `${jobs.filter(({ state }) => state === "completed").length} of ${jobs.length} archives correct; ${slopes.join(", ")}`,
    failures,
  }
}

async function callAtLowRate(world: World, endsAt: number): Promise<void> {
  const calls: Promise<unknown>[] = []
  while (Date.now() < endsAt) {
    await sleep(700)
    const jobIds = [...acceptedJobs(world).keys()]
    const live = (await endedJobs(world, jobIds.slice(-60))).filter((ended) => !ended).length
    if (live < 30) calls.push(world.record(randomSize(world, 24)).then((archive) => world.call(archive)))
  }
  await Promise.all(calls)
}

/** Injects one fault of each kind in turn. */
async function strike(world: World, watched: readonly Member[], index: number): Promise<void> {
  const victim = world.random.pick(world.workers.filter((member) => !watched.includes(member)))
  const faults: readonly (() => Promise<unknown>)[] = [
    async () => {
      await world.kill(victim)
      await world.startWorker()
    },
    async () => {
      await world.kill(victim, "SIGTERM")
      await world.startWorker()
    },
    async () => {
      world.fault("SIGSTOP", victim.name)
      victim.kill("SIGSTOP")
      await sleep(LOCK_MS + 2_000)
      victim.kill("SIGCONT")
    },
    async () => {
      world.fault("Redis SIGKILL")
      await world.redis.stop("SIGKILL")
      await sleep(500)
      await world.redis.restart()
    },
    async () => {
      world.fault("Redis connections cut")
      world.proxy.cut()
    },
    async () => {
      world.fault("store 503")
      for (const operation of ["GetObject", "UploadPart", "PutObject"] as const)
        world.s3.faults.add({ operation, key: /archive\.ts$/, times: 3, action: { status: 503 } })
    },
  ]
  await faults[index % faults.length]!()
}

/** Least squares over the second half of the samples. */
function slopePerHour(samples: readonly Sample[], field: "residentMb" | "descriptors"): number {
  const warm = samples.slice(Math.floor(samples.length / 2))
  const mean = (of: (sample: Sample) => number) => warm.reduce((sum, one) => sum + of(one), 0) / warm.length
  const [x, y] = [mean(({ minute }) => minute), mean((one) => one[field])]
  const covariance = mean((one) => (one.minute - x) * (one[field] - y))
  const variance = mean(({ minute }) => (minute - x) ** 2)
  return variance > 0 ? Math.round((covariance / variance) * 60) : 0
}
