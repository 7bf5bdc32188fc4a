/** Workers stand still until another has their work, and then go on as if nothing had happened. */

import { inWorld, type Row, randomSize, scaled, until } from "../row.ts"
import { LOCK_MS, STALL_CHECK_MS } from "../settings.ts"
import { countEnded } from "../world/jobs.ts"
import { isStopped, type Member } from "../world/members.ts"
import type { World } from "../world/world.ts"
import { slowSource } from "./signals.ts"

const MIB = 1024 * 1024
const PAST_LOCK_MS = LOCK_MS + 2 * STALL_CHECK_MS + 500
/** Stops of either kind at once. Two healthy workers take over the work. */
const AT_ONCE = 3
/** Announced jobs that have not ended, as long as stops remain: every worker has some. */
const AHEAD = 20

/** Stopped at a random moment, or exactly between fence and commit, until another worker has taken the work. */
export const sigstop: Row = {
  name: "sigstop",
  fault: "SIGSTOP past the lock, then SIGCONT, also between fence and complete",
  demand: "100: no content change of a visible object",
  run: (options) =>
    inWorld(options, { workers: 2 }, async (world) => {
      const stops = scaled(100, options, 2)
      // Makes runs long enough to be stopped in the middle.
      slowSource(world, 3 * MIB)
      const done = { between: 0, anywhere: 0 }
      let taken = 0
      while (done.between + done.anywhere < stops) {
        const between = Math.min(AT_ONCE, Math.ceil(stops / 2) - done.between)
        const anywhere = Math.min(AT_ONCE, Math.floor(stops / 2) - done.anywhere)
        taken += await round(world, between, anywhere)
        done.between += between
        done.anywhere += anywhere
        options.progress?.(`${done.between + done.anywhere} of ${stops} stops`)
      }
      world.s3.faults.clear()
      await world.settled(120_000)
      return {
        runs: `${stops} stops, ${done.between} of them between fence and complete`,
        measured: `${taken} jobs were taken over, ${await countEnded(world)} archives, ${world.versions.keys.length} visible keys`,
      }
    }),
}

/** Resolves to the number of jobs that the victims were running, once each has continued and finished its runs. */
async function round(world: World, between: number, anywhere: number): Promise<number> {
  const faultPoint = () => `after-fence:${world.random.integer(1, 2)}:stop`
  const victims = await Promise.all([
    ...Array.from({ length: between }, () => world.startWorker({ RIG_FAULT_POINT: faultPoint() })),
    ...Array.from({ length: anywhere }, () => world.startWorker()),
  ])
  const feeding = startFeeding(world)
  const stopping = victims.map((victim, index) =>
    index < between
      ? until(`the stop of ${victim.name}`, 60_000, () => isStopped(victim.pid))
      : stopInHand(world, victim, world.random.integer(0, 1_000)),
  )
  // Each takes its own time: the first to be stopped need not wait for the last.
  const goingOn = Promise.all(
    victims.map(async (victim, index) => {
      await stopping[index]
      return goOnAfterwards(world, victim)
    }),
  )
  goingOn.catch(() => {})
  try {
    await Promise.all(stopping)
  } finally {
    await feeding.stop()
  }
  const taken = await goingOn
  await Promise.all(victims.map((victim) => world.kill(victim, "SIGTERM")))
  return taken.reduce((sum, count) => sum + count, 0)
}

/** Records and sends callbacks until it is stopped. Healthy workers may take most of the work. */
function startFeeding(world: World): { stop(): Promise<void> } {
  let stopping = false
  const feed = async () => {
    while (!stopping) {
      if (world.answers.length - (await countEnded(world)) < AHEAD)
        await world.call(await world.record(randomSize(world, 11)))
      else await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  const feeding = Promise.all([feed(), feed()])
  // `stop` observes it.
  feeding.catch(() => {})
  return {
    async stop() {
      stopping = true
      await feeding
    },
  }
}

/** Stops `victim` `ms` after its first step, while it has work in progress. */
async function stopInHand(world: World, victim: Member, ms: number): Promise<void> {
  await until("work in hand", 60_000, () => inHand(victim).length > 0)
  await new Promise((resolve) => setTimeout(resolve, ms))
  await until("work in hand", 60_000, () => inHand(victim).length > 0)
  world.fault("SIGSTOP", victim.name)
  victim.kill("SIGSTOP")
}

/** The jobs whose run has begun in this process and has not reached its last step. */
function inHand({ log }: Member): string[] {
  const last = new Map<string, unknown>()
  for (const { msg, jobId, step } of log)
    if (msg === "step") last.set(`${jobId}`, step)
    else if (isEnd(msg)) last.delete(`${jobId}`)
  return [...last].filter(([, step]) => step !== "after-clear").map(([jobId]) => jobId)
}

const isEnd = (msg: unknown): boolean => msg !== "step" && /^archive('s| )/.test(`${msg}`)

/** Waits until the lock has expired and others have begun all of `victim`'s jobs. Then lets it continue to the end of its runs. */
async function goOnAfterwards(world: World, victim: Member): Promise<number> {
  const stoppedAt = Date.now()
  // Its last log lines may still be on their way.
  await new Promise((resolve) => setTimeout(resolve, 500))
  const jobs = inHand(victim)
  await new Promise((resolve) => setTimeout(resolve, PAST_LOCK_MS))
  await until(`another run of what ${victim.name} had`, 60_000, () => {
    const others = new Set(
      world.history.entries.flatMap((entry) =>
        entry.kind === "step" && entry.process !== victim.name && entry.at > stoppedAt ? [entry.jobId] : [],
      ),
    )
    return jobs.every((jobId) => others.has(jobId))
  })
  await new Promise((resolve) => setTimeout(resolve, world.random.integer(0, 1_000)))
  const from = victim.log.length
  world.fault("SIGCONT", victim.name)
  victim.kill("SIGCONT")
  await until(`the end of what ${victim.name} had`, 60_000, () => {
    const ended = new Set(
      victim.log.slice(from).flatMap(({ msg, jobId }) => (isEnd(msg) ? [`${jobId}`] : [])),
    )
    return jobs.every((jobId) => ended.has(jobId))
  })
  return jobs.length
}
