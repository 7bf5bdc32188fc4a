/** Signals that a worker survives, or ends by in its own time. */
import { readJobs } from "../check.ts"
import { inWorld, type Row, type RowOptions, scaled, until } from "../row.ts"
import { LOCK_MS, type Member, STALL_CHECK_MS, type World } from "../world.ts"
import { countEnded, feed } from "./kill.ts"

const MIB = 1024 * 1024

/** SIGTERM to one worker after another while all have work; each is replaced. */
export const sigterm: Row = {
  name: "sigterm",
  fault: "SIGTERM under load",
  demand: "100: exit ≤ 5 s, code 0, no attempt or stall used",
  run: (options) => restarts(options, 100, 2),
}

export const rollingRestart: Row = {
  name: "rolling-restart",
  fault: "rolling restart of all workers under load",
  demand: "0 stalls; every output correct",
  run: (options) => restarts(options, 20, 4),
}

/** The demand is 5 s, which the process keeps for itself; what comes on top is a busy machine's. */
const EXIT_MS = 7_000

/** The reader is slowed down, so that a worker that ends always has something in hand. */
function restarts(options: RowOptions, count: number, workers: number) {
  return inWorld(options, { workers }, async (world) => {
    const terms = scaled(count, options, 2)
    slowSource(world, 4 * MIB)
    const archives = terms * 3 + 8
    const feeding = feed(world, archives, 11)
    let slowest = 0
    const failures: string[] = []
    for (let index = 0; index < terms; index++) {
      await until(
        "work in hand",
        60_000,
        async () => (await world.client.llen("{unseal}:unseal:active")) >= 2,
      )
      const worker = world.random.pick(world.workers)
      const replacement = world.startWorker()
      world.fault("SIGTERM", worker.name)
      const before = performance.now()
      worker.kill("SIGTERM")
      const code = await worker.exited
      const ms = performance.now() - before
      slowest = Math.max(slowest, ms)
      if (code !== 0) failures.push(`${worker.name} ended with ${code}`)
      if (ms > EXIT_MS) failures.push(`${worker.name} took ${Math.round(ms)} ms to end`)
      await replacement
    }
    world.s3.faults.clear()
    await feeding
    await world.settled(120_000)
    const jobs = await readJobs(world)
    const used = jobs.filter(({ stalls, attempts }) => stalls > 0 || attempts > 1)
    for (const { jobId, stalls, attempts } of used)
      failures.push(`${jobId} has ${stalls} stalls and ${attempts} attempts`)
    const again = jobs.reduce((sum, { starts }) => sum + starts - 1, 0)
    return {
      runs: `${terms} SIGTERM over ${archives} archives`,
      measured: `slowest exit ${Math.round(slowest)} ms, ${again} hand-backs, ${used.length} jobs with a stall or a failed attempt`,
      failures,
    }
  })
}

/** Every part of a source takes its time. */
export function slowSource(world: World, bytesPerSecond: number): void {
  world.s3.faults.add({
    operation: "GetObject",
    key: /^\d/,
    times: Number.POSITIVE_INFINITY,
    action: { throttleBytesPerSecond: bytesPerSecond },
  })
}

const PAST_LOCK_MS = LOCK_MS + 2 * STALL_CHECK_MS + 500

/** Stopped at a random moment, or exactly between the fence and the commit, until another worker must have done the work. */
export const sigstop: Row = {
  name: "sigstop",
  fault: "SIGSTOP past the lock, then SIGCONT, also between fence and complete",
  demand: "100: no content change of a visible object",
  run: (options) =>
    inWorld(options, { workers: 2 }, async (world) => {
      const stops = scaled(100, options, 2)
      for (let index = 0; index < stops; index++) {
        const between = index % 2 === 0
        const victim = await world.startWorker(
          between ? { UNSEAL_TEST_FAULT_POINT: `after-fence:${world.random.integer(1, 2)}:stop` } : {},
        )
        const feeding = feed(world, 8, 11)
        if (between) await until("the stop after the fence", 30_000, () => isStoppedAfterFence(world, victim))
        else {
          await until("work in hand", 30_000, () => world.history.entries.some(isStepOf(victim)))
          await new Promise((resolve) => setTimeout(resolve, world.random.integer(0, 300)))
          world.fault("SIGSTOP", victim.name)
          victim.kill("SIGSTOP")
        }
        await new Promise((resolve) => setTimeout(resolve, PAST_LOCK_MS + world.random.integer(0, 1_000)))
        world.fault("SIGCONT", victim.name)
        victim.kill("SIGCONT")
        await feeding
        await world.settled(60_000)
        await world.kill(victim, "SIGTERM")
        options.progress?.(`${index + 1} of ${stops} stops`)
      }
      return {
        runs: `${stops} stops, half of them between fence and complete`,
        measured: `${await countEnded(world)} archives, ${world.versions.keys.length} visible keys`,
      }
    }),
}

const isStepOf = (victim: Member) => (entry: World["history"]["entries"][number]) =>
  entry.kind === "step" && entry.process === victim.name

/** With four runs at once, the one that stops need not be the first that passes its fence: the log is silent after it. */
function isStoppedAfterFence(world: World, victim: Member): boolean {
  const steps = world.history.entries.filter(isStepOf(victim))
  const last = steps.at(-1)
  return last?.kind === "step" && last.step === "after-fence" && Date.now() - last.at > 300
}
