/** A Redis master dies, and a replica without all acknowledged writes takes its place. */
import { setTimeout as sleep } from "node:timers/promises"
import { readAccounts } from "@unseal/queue/accounting"
import { openUploads } from "../check.ts"
import { inWorld, type Row, type RowOptions, type RowResult, scaled, until } from "../row.ts"
import { PROJECT, QUEUE, SECOND_PROJECT } from "../settings.ts"
import { readJobs } from "../world/jobs.ts"
import { startVendor } from "../world/vendor.ts"
import type { World } from "../world/world.ts"
import { feed } from "./kill.ts"
import { findings } from "./redis-forgets.ts"
import { slowSource } from "./signals.ts"

const MIB = 1024 * 1024
const PER_FAILOVER = 12
const SENTINELS_AWAY_MS = 45_000
const RECOVERY_MS = 60_000
/** For the short form, which runs beside everything else on a machine. */
const SHORT_RECOVERY_MS = 180_000
const BOTH = [PROJECT, SECOND_PROJECT]

const DEMAND = "10: the reconciler restores 100 %, 0 wrong, 0 left open, all done within 60 s of the end"

export const sentinelFailover: Row = {
  name: "sentinel-failover",
  fault:
    "`kill -9` of the master that sentinels watch, every other time with its last 2.5 s lost; all sentinels away for 45 s, connections cut",
  demand: DEMAND,
  run: (options) => failovers(options, "sentinel", withoutSentinels),
}

export const clusterFailover: Row = {
  name: "cluster-failover",
  fault: "`kill -9` of the queue's master in a Redis Cluster, every other time with its last 2.5 s lost",
  demand: DEMAND,
  run: (options) => failovers(options, "cluster"),
}

/** Archives of two projects are announced and decrypted while masters die. Replication is asynchronous, so losses are counted. */
const failovers = (
  options: RowOptions,
  redis: "sentinel" | "cluster",
  afterwards: (world: World, options: RowOptions) => Promise<void> = async () => {},
): Promise<RowResult> =>
  inWorld(options, { workers: 2, redis, second: async () => ({}) }, async (world) => {
    const count = scaled(10, options)
    const recoveryLimitMs = options.scale >= 0.5 ? RECOVERY_MS : SHORT_RECOVERY_MS
    const vendor = await startVendor(world)
    try {
      // Slow enough for a master to die between parts.
      slowSource(world, 4 * MIB)
      for (let index = 0; index < count; index++) {
        const due = world.answers.length + world.random.integer(3, PER_FAILOVER / 2)
        const feeding = feed(world, PER_FAILOVER, 11, BOTH)
        await until("more callbacks", 60_000, () => world.answers.length >= due)
        const how = index % 2 === 0 ? "behind" : "kill"
        world.fault(`SIGKILL of the master${how === "behind" ? ", whose replicas lack its last 2.5 s" : ""}`)
        await world.redisForm!.failover(QUEUE, how)
        await feeding
        options.progress?.(`${index + 1} of ${count} failovers`)
      }
      await afterwards(world, options)

      const endedAt = performance.now()
      await until(
        "the end of what was left",
        recoveryLimitMs,
        async () => (await readAccounts(world.client, QUEUE)).live === 0,
      )
      const jobs = await readJobs(world)
      const lost = jobs.filter(({ state }) => state === "missing").length
      const unanswered = world.answers.filter(({ accepted }) => !accepted).length
      const again = jobs.filter(({ attempts }) => attempts > 1).length
      const restored = await vendor.reconcile()
      const found = await findings(world, vendor, { runs: "", measured: "" }, recoveryLimitMs)
      const recoveryMs = Math.round(performance.now() - endedAt)
      // Without the janitor: a run removes its own upload if a failover lost its note, and the next run removes what is left.
      const leftBy = performance.now() + 10_000
      while (openUploads(world).length > 0 && performance.now() < leftBy) await sleep(100)
      const left = openUploads(world)
      return {
        ...found,
        runs: `${count} failovers over ${world.answers.length} archives of two projects`,
        measured: `${lost} jobs lost, ${unanswered} callbacks given up, ${restored} restored by the reconciler${found.measured}; ${again} have used attempts; all done ${recoveryMs} ms after the end`,
        failures: [
          ...(found.failures ?? []),
          ...(left.length > 0
            ? [`${left.length} uploads are open that no run removed, e.g. of ${left[0]!.key}`]
            : []),
          ...(recoveryMs > recoveryLimitMs ? [`all was done only ${recoveryMs} ms after the end`] : []),
        ],
      }
    } finally {
      await vendor.close()
    }
  })

/** Connections are cut while no sentinel can name the master. The queue is unreachable until one can. */
async function withoutSentinels(world: World, options: RowOptions): Promise<void> {
  const { sentinel } = world.redisForm!
  const feeding = feed(world, PER_FAILOVER, 11, BOTH)
  world.fault("all sentinels SIGKILL")
  await sentinel!.stopSentinels()
  await world.client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
  await sleep(scaled(SENTINELS_AWAY_MS, options, 4_000))
  await sentinel!.startSentinels()
  world.fault("the sentinels are back")
  await feeding
}
