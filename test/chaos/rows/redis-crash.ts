/** Redis dies and comes back with everything that it acknowledged. */

import { inWorld, type Row, scaled, until } from "../row.ts"
import { readJobs } from "../world/jobs.ts"
import { feed } from "./kill.ts"

/** Killed while callbacks are added and archives are decrypted, and restarted on the same directory. */
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
