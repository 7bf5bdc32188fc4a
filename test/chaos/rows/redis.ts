/** Redis that dies, is away, is slow, or refuses. */
import { readJobs } from "../check.ts"
import { inWorld, type Row, scaled, until } from "../row.ts"
import type { World } from "../world.ts"
import { countEnded, feed } from "./kill.ts"

/** Killed while callbacks are added and archives are decrypted, and started again on the same directory. */
export const redisCrash: Row = {
  name: "redis-crash",
  fault: "Redis `kill -9` and restart, AOF always",
  demand: "0 acknowledged lost in 50",
  run: (options) =>
    inWorld(options, { workers: 2 }, async (world) => {
      const crashes = scaled(50, options, 2)
      const archives = crashes * 8
      const feeding = feed(world, archives, 7)
      for (let index = 0; index < crashes; index++) {
        const due = world.answers.length + 4
        await until("more callbacks", 60_000, () => world.answers.length >= Math.min(due, archives))
        await new Promise((resolve) => setTimeout(resolve, world.random.integer(0, 400)))
        world.fault("Redis SIGKILL")
        await world.redis.stop("SIGKILL")
        await new Promise((resolve) => setTimeout(resolve, world.random.integer(0, 1_000)))
        await world.redis.restart()
        options.progress?.(`${index + 1} of ${crashes} crashes`)
      }
      await feeding
      await world.settled(120_000)
      const jobs = await readJobs(world)
      return {
        runs: `${crashes} crashes over ${archives} archives`,
        measured: `${jobs.length} acknowledged, ${jobs.filter(({ state }) => state === "missing").length} lost`,
      }
    }),
}

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

/** Longer than a lock, so that every run in hand loses its own. */
const OUTAGE_MS = 5_000
const RECOVERY_MS = 30_000
/** The demand is 2.5 s; what comes on top is the time that a busy machine takes to notice. */
const ANSWER_MS = 4_000
const LINES_PER_SECOND = 5

export const redisAway: Row = {
  name: "redis-away",
  fault: `Redis ${OUTAGES.map(({ name }) => name).join(", ")}, down at boot`,
  demand: "ingest answers ≤ 2.5 s; everything resumes by itself ≤ 30 s after; ≤ 5 log lines/s",
  run: (options) =>
    inWorld(options, { workers: 2, proxied: true }, async (world) => {
      const failures: string[] = []
      const rounds = scaled(3, options)
      const worst = { answer: 0, recovery: 0, lines: 0 }
      for (let round = 0; round < rounds; round++)
        for (const outage of OUTAGES) {
          await live(world, outage, failures, worst)
          options.progress?.(`${outage.name}: over`)
        }
      await downAtBoot(world, worst)
      const { answer, recovery, lines } = worst
      return {
        runs: `${OUTAGES.length} kinds of outage of ${OUTAGE_MS} ms × ${rounds}, 1 down at boot`,
        measured: `slowest answer ${answer} ms, slowest recovery ${recovery} ms, at most ${lines} error lines/s of a process; ${await countEnded(world)} archives`,
        failures,
      }
    }),
}

/** One outage while archives are decrypted and callbacks arrive. */
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
  if (answer > ANSWER_MS) failures.push(`${outage.name}: a callback was answered after ${answer} ms`)
  if (rate > LINES_PER_SECOND) failures.push(`${outage.name}: ${rate} error lines/s of one process`)
  worst.answer = Math.max(worst.answer, answer)
  worst.recovery = Math.max(worst.recovery, recovery)
  worst.lines = Math.max(worst.lines, rate)
}

/** An ingest and a worker that start without Redis, and work as soon as it is there. */
async function downAtBoot(world: World, worst: Record<"answer" | "recovery", number>): Promise<void> {
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
}
