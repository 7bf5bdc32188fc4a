import { STALL_LIMIT } from "@unseal/queue/run/consumer"
import { inWorld, many, type Row, scaled } from "../row.ts"
import { endedJobs, readJobs } from "../world/jobs.ts"
import type { World } from "../world/world.ts"

const MIB = 1024 * 1024
const MOST_ENDED = STALL_LIMIT + 1
/** Several locks must expire, one after another. */
const SHORT_LOCK = { UNSEAL_LOCK_MS: "1000", UNSEAL_STALL_CHECK_MS: "200" }
/** Healthy archives per killed worker. */
const HEALTHY = 3

/** A job ends its worker each time, like one that needs more memory than there is. The same workers run other jobs. */
export const quarantine: Row = {
  name: "quarantine",
  fault: "a job that ends its worker whenever one begins it",
  demand: `a dead letter with its own code after ${MOST_ENDED} ended workers; every other archive is committed`,
  run: (options) =>
    inWorld(options, { workers: 2, workerEnv: SHORT_LOCK }, async (world) => {
      const jobs = scaled(5, options)
      const failures: string[] = []
      let ended = 0
      let most = 0
      for (let index = 0; index < jobs; index++) {
        const kills = await poison(world)
        ended += kills
        if (kills > MOST_ENDED) failures.push(`${kills} workers have ended, more than ${MOST_ENDED}`)
        options.progress?.(`${index + 1} of ${jobs}: a dead letter after ${kills} workers`)
      }
      await world.settled(60_000)
      const all = await readJobs(world)
      for (const { state, stalls } of all) if (state === "completed") most = Math.max(most, stalls)
      return {
        runs: `${jobs} such jobs among ${all.length - jobs} others`,
        measured: `${ended} workers ended, ${all.filter(({ state }) => state === "failed").length} dead letters; another archive lost its worker ${most} times at most`,
        failures,
      }
    }),
}

/** Announces an archive and kills each worker that begins it, until it is a dead letter. Resolves to the number of kills. */
async function poison(world: World): Promise<number> {
  const recorded = world.studio.record(6 * MIB)
  const archive = world.track(recorded, { deadLetter: "ERR_STALLED" })
  await world.upload(archive.sourceKey, recorded.ciphertext)
  // Keeps the archive being read until its worker ends.
  const slow = world.s3.faults.add({
    operation: "GetObject",
    key: archive.sourceKey,
    times: Number.POSITIVE_INFINITY,
    action: { throttleBytesPerSecond: MIB / 2 },
  })
  const { jobId } = await world.call(archive)
  const healthy: Promise<unknown>[] = []
  const starting: Promise<unknown>[] = []
  const deadline = Date.now() + 180_000
  let seen = 0
  let kills = 0
  while (!(await endedJobs(world, [jobId!]))[0]) {
    if (Date.now() > deadline) throw new Error(`${jobId} is no dead letter after ${kills} workers`)
    const entries = world.history.entries.slice(seen)
    seen += entries.length
    const begun = entries.find(
      (entry) => entry.kind === "step" && entry.step === "after-unwrap" && entry.jobId === jobId,
    )
    const victim = world.workers.find(({ name }) => begun?.kind === "step" && name === begun.process)
    if (victim === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      continue
    }
    healthy.push(many(HEALTHY, HEALTHY, async () => world.call(await world.record(MIB))))
    // Lets the worker's other jobs end in between. A job that it had each time would become a dead letter as well.
    await new Promise((resolve) => setTimeout(resolve, world.random.integer(400, 800)))
    await world.kill(victim)
    kills++
    starting.push(world.startWorker())
  }
  await Promise.all([...healthy, ...starting])
  slow.remove()
  return kills
}
