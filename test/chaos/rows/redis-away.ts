/** Redis is away, slow, or refuses commands. */

import { inWorld, type Row, scaled } from "../row.ts"
import { countEnded } from "../world/jobs.ts"
import type { Member } from "../world/members.ts"
import type { World } from "../world/world.ts"
import { feed } from "./kill.ts"

interface Outage {
  readonly name: string
  begin(world: World): Promise<void> | void
  end(world: World): Promise<void> | void
}

const network = (name: string, fault: Parameters<World["proxy"]["fault"]>[0]): Outage => ({
  name,
  begin: (world) => world.proxy.fault(fault),
  end: (world) => world.proxy.honest(),
})

const OUTAGES: readonly Outage[] = [
  network("cut", { kind: "refuse" }),
  network("frozen", { kind: "freeze" }),
  network("replies lost", { kind: "drop-replies" }),
  network("replies halved", { kind: "halve" }),
  network("slow", { kind: "delay", ms: 400 }),
  {
    name: "stopped process",
    begin: (world) => void process.kill(world.redis.pid, "SIGSTOP"),
    end: (world) => void process.kill(world.redis.pid, "SIGCONT"),
  },
  {
    name: "READONLY",
    begin: async (world) => void (await world.client.replicaof("127.0.0.1", "1")),
    end: async (world) => void (await world.client.replicaof("NO", "ONE")),
  },
  {
    name: "OOM",
    begin: async (world) => void (await world.client.config("SET", "maxmemory", "1mb")),
    end: async (world) => void (await world.client.config("SET", "maxmemory", "0")),
  },
]

/** Longer than a lock, so that every running job loses its own. */
const OUTAGE_MS = 5_000
const RECOVERY_MS = 30_000
/** By the ingest's own clock. The rest of what its sender waits is the time that this process takes to notice. */
const ANSWER_SECONDS = 2.5
const NOTICED_MS = 4_000
const LINES_PER_SECOND = 5

export const redisAway: Row = {
  name: "redis-away",
  fault: `Redis ${OUTAGES.map(({ name }) => name).join(", ")}, down at boot`,
  demand: "ingest answers ≤ 2.5 s; everything resumes by itself ≤ 30 s after; ≤ 5 log lines/s",
  run: (options) =>
    inWorld(options, { workers: 2, proxied: true }, async (world) => {
      const failures: string[] = []
      const outages = choose(world, scaled(3 * OUTAGES.length, options))
      const worst = { answer: 0, recovery: 0, lines: 0 }
      for (const outage of outages) {
        await live(world, outage, failures, worst)
        options.progress?.(`${outage.name}: over`)
      }
      const [first] = world.ingests
      const late = await lateAnswers(first!)
      const second = await downAtBoot(world, worst)
      const lateInAll = late + (await lateAnswers(second))
      if (lateInAll > 0) failures.push(`${lateInAll} answers took more than ${ANSWER_SECONDS} s of ingest`)
      const { answer, recovery, lines } = worst
      return {
        runs: `${outages.length} outages of ${OUTAGE_MS} ms, of ${new Set(outages).size} kinds, 1 down at boot`,
        measured: `${lateInAll} answers above ${ANSWER_SECONDS} s of ingest, slowest ${answer} ms to its sender, slowest recovery ${recovery} ms, at most ${lines} error lines/s of a process; ${await countEnded(world)} archives`,
        failures,
      }
    }),
}

/** All kinds equally often, in the seed's order; only some kinds if `count` is smaller than their number. */
function choose(world: World, count: number): Outage[] {
  const random = world.random.fork()
  const chosen: Outage[] = []
  let left: Outage[] = []
  while (chosen.length < count) {
    if (left.length === 0) left = [...OUTAGES]
    chosen.push(...left.splice(random.integer(0, left.length - 1), 1))
  }
  return chosen
}

/** How many answers took longer than allowed, according to ingest itself. */
async function lateAnswers({ ports }: Member): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${ports.admin}/metrics`)
  const text = await response.text()
  const sum = (pattern: RegExp) =>
    [...text.matchAll(pattern)].reduce((all, [, count]) => all + Number(count), 0)
  const all = sum(/^unseal_callback_seconds_count\{.*\} (\d+)$/gm)
  if (all === 0) throw new Error("ingest has counted no answer")
  return (
    all - sum(new RegExp(`^unseal_callback_seconds_bucket\\{.*le="${ANSWER_SECONDS}".*\\} (\\d+)$`, "gm"))
  )
}

/** Runs one outage while archives are decrypted and callbacks arrive. */
async function live(
  world: World,
  outage: Outage,
  failures: string[],
  worst: Record<"answer" | "recovery" | "lines", number>,
) {
  await feed(world, 4, 7)
  const before = world.answers.length
  world.fault(`Redis ${outage.name}`)
  const linesBefore = world.members.map(({ log }) => log.length)
  await outage.begin(world)
  const feeding = feed(world, 6, 7)
  await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS))
  const lines = world.members.map(
    ({ log }, index) =>
      log.slice(linesBefore[index]).filter(({ level }) => level === "error" || level === "warn").length,
  )
  await outage.end(world)
  world.fault(`Redis ${outage.name}: over`)
  const overAt = performance.now()
  await feeding
  await world.settled(RECOVERY_MS + 30_000)
  const recovery = Math.round(performance.now() - overAt)
  const answer = Math.round(Math.max(...world.answers.slice(before).map(({ ms }) => ms)))
  const rate = Math.max(...lines) / (OUTAGE_MS / 1_000)
  if (recovery > RECOVERY_MS)
    failures.push(`${outage.name}: all was done only ${recovery} ms after it was over`)
  if (answer > NOTICED_MS) failures.push(`${outage.name}: a callback was answered after ${answer} ms`)
  if (rate > LINES_PER_SECOND) failures.push(`${outage.name}: ${rate} error lines/s of one process`)
  worst.answer = Math.max(worst.answer, answer)
  worst.recovery = Math.max(worst.recovery, recovery)
  worst.lines = Math.max(worst.lines, rate)
}

/** Starts an ingest and a worker without Redis. They work as soon as it is there. */
async function downAtBoot(world: World, worst: Record<"answer" | "recovery", number>): Promise<Member> {
  for (const member of [...world.workers, ...world.ingests]) await world.kill(member)
  world.fault("Redis down at boot")
  world.proxy.fault({ kind: "refuse" })
  const [ingest] = await Promise.all([world.startIngest(), world.startWorker()])
  const archive = await world.record(100_000)
  const calling = world.call(archive, ingest)
  await new Promise((resolve) => setTimeout(resolve, 3_000))
  world.proxy.honest()
  const overAt = performance.now()
  const answered = await calling
  await world.settled(RECOVERY_MS)
  worst.answer = Math.max(worst.answer, Math.round(answered.ms))
  worst.recovery = Math.max(worst.recovery, Math.round(performance.now() - overAt))
  return ingest
}
