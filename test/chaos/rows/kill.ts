import type { LogLine } from "@unseal/test/harness/process"
import { wastedParts } from "../check.ts"
import { inWorld, many, type Row, type RowOptions, randomSize, scaled } from "../row.ts"
import { PROJECT } from "../settings.ts"
import { countEnded, readJobs } from "../world/jobs.ts"
import type { World } from "../world/world.ts"

/** The most archives that are announced and not ended. Workers always have some, and memory use stays small. */
const AHEAD = 24

/** `kill -9` at random moments: one kill for every five archives, spread over their progress. */
export const kill: Row = {
  name: "kill",
  fault: "`kill -9` of workers at random moments",
  demand: "200 kills over 1,000 archives: all correct, 0 lost, dead or open, starts ≤ 1,800",
  run: (options) =>
    inWorld(options, {}, async (world) => {
      const archives = scaled(1_000, options, 10)
      const kills = scaled(200, options, 2)
      const largest = options.scale < 0.5 ? 6 : 24
      const killed = { count: 0 }
      const feeding = feed(world, archives, largest)
      await killAlong(world, { archives, kills, killed, options })
      await feeding
      await world.settled(120_000)

      const jobs = await readJobs(world)
      const starts = jobs.reduce((sum, job) => sum + job.starts, 0)
      const limit = Math.ceil(archives * 1.8)
      // On a busy machine a lock may expire without any fault. Such starts are not due to a kill.
      const lost = world.members.reduce((sum, { log }) => sum + log.filter(isLockLost).length, 0)
      const done = jobs.filter((job) => job.state === "completed").length
      return {
        runs: `${killed.count} kills over ${archives} archives`,
        measured: `${done} correct, ${starts} starts (limit ${limit}), ${lost} of them after a lock that ran out, ${wastedParts(world)} parts sent again`,
        failures: [
          ...(starts - lost > limit ? [`${starts} starts, more than ${limit}`] : []),
          ...(done < archives ? [`${done} of ${archives} archives were committed`] : []),
        ],
        check: { kills: killed.count },
      }
    }),
}

const isLockLost = ({ msg }: LogLine): boolean => `${msg}`.startsWith("archive's lock was lost")

/**
 * Records archives of each project in turn and sends their callbacks, never too far ahead of the workers. The caller may await
 * a failure later; until then it must not count as unhandled.
 */
export function feed(
  world: World,
  archives: number,
  largestMib: number,
  projects: readonly string[] = [PROJECT],
): Promise<unknown> {
  let called = 0
  const feeding = many(archives, 4, async () => {
    while (called - (await countEnded(world)) >= AHEAD)
      await new Promise((resolve) => setTimeout(resolve, 100))
    const projectId = projects[called++ % projects.length]
    await world.call(await world.record(randomSize(world, largestMib), projectId))
  })
  feeding.catch(() => {})
  return feeding
}

async function killAlong(
  world: World,
  {
    archives,
    kills,
    killed,
    options,
  }: {
    archives: number
    kills: number
    killed: { count: number }
    options: RowOptions
  },
): Promise<void> {
  const random = world.random.fork()
  const starting: Promise<unknown>[] = []
  while (killed.count < kills) {
    const due = ((killed.count + 0.5) * archives) / kills
    const deadline = Date.now() + 120_000
    // While three of four are dead or starting, there would be nothing to kill.
    while ((await countEnded(world)) < due || world.workers.length < 2) {
      if (Date.now() > deadline) throw new Error(`no progress for 120 s after ${killed.count} kills`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await new Promise((resolve) => setTimeout(resolve, random.integer(0, 250)))
    await world.kill(random.pick(world.workers))
    killed.count++
    if (killed.count % 10 === 0) options.progress?.(`${killed.count} of ${kills} kills`)
    starting.push(world.startWorker())
  }
  await Promise.all(starting)
}
