/** Redis loses acknowledged writes, and the reconciler restores them from the vendor's list. */
import { readAccounts } from "@unseal/queue/accounting"
import { findJob } from "@unseal/queue/jobs/find-job"
import { type Findings, inWorld, type Row, type RowOptions, type RowResult, scaled, until } from "../row.ts"
import { QUEUE } from "../settings.ts"
import { watchAppendOnlyFile } from "../world/append-only-file.ts"
import { recordKeyOf } from "../world/archives.ts"
import { type JobState, readJobs } from "../world/jobs.ts"
import { startVendor, type Vendor } from "../world/vendor.ts"
import type { World } from "../world/world.ts"
import { feed } from "./kill.ts"

/** The promise of `everysec`: everything older than this has reached the disk. */
const MOST_LOST_MS = 1_000
const PER_CRASH = 8

const RISKY = { UNSEAL_REDIS_DURABILITY: "warn" }
const EVERYSEC = {
  workers: 2,
  redis: { appendfsync: "everysec" },
  workerEnv: RISKY,
  ingestEnv: RISKY,
} as const

export const redisEverysec: Row = {
  name: "redis-everysec",
  fault: "Redis `kill -9` and restart, AOF everysec, every other time with a part of the last second lost",
  demand: "50 crashes: the reconciler restores 100 %",
  run: (options) => crashes(options, 50, false),
}

/**
 * A machine that goes down may leave half a transaction at the end of the file. Redis ignores it at its next start, but leaves it
 * in the file, and applies it at the start after that (orphaned-job.ts). So jobs may be in no line, and counters may be wrong.
 */
export const redisTorn: Row = {
  name: "redis-torn",
  fault: "the same with a file that ends within the transaction that adds a job",
  demand: "20 crashes: the reconciler restores 100 %, whatever Redis makes of it",
  run: (options) => crashes(options, 20, true),
}

/**
 * Killed while callbacks are acknowledged. What Redis has written survives in the page cache. So every other time its machine goes
 * down with it, and up to a second of its file is lost.
 */
const crashes = (options: RowOptions, full: number, torn: boolean): Promise<RowResult> =>
  inWorld(options, EVERYSEC, async (world) => {
    const count = scaled(full, options, 2)
    let tears = 0
    const vendor = await startVendor(world)
    const file = watchAppendOnlyFile(world.redis.directory)
    try {
      for (let index = 0; index < count; index++) {
        const before = world.answers.length
        const feeding = feed(world, PER_CRASH, 2)
        const due = before + world.random.integer(3, PER_CRASH)
        await until("more callbacks", 60_000, () => world.answers.length >= due)
        world.fault("Redis SIGKILL")
        await world.redis.stop("SIGKILL")
        if (index % 2 === 1) {
          // Little enough to leave the result of the previous tear in the file.
          const [least, most] = torn ? [20, MOST_LOST_MS / 4] : [MOST_LOST_MS / 2, MOST_LOST_MS]
          const lostMs = world.random.integer(least, most)
          const tear = { words: "encryptedPassword", at: 0.05 + 0.9 * world.random.next() }
          const lost = file.loseNewest(lostMs, torn ? tear : undefined)
          world.fault(
            `Redis has lost its last ${lost.bytes} bytes${lost.torn ? ", within a transaction" : ""}`,
          )
          if (lost.torn) tears++
        }
        await world.redis.restart()
        await feeding
        options.progress?.(`${index + 1} of ${count} crashes`)
      }
      if (torn) {
        // The result of the last tear is applied only now.
        await world.redis.stop("SIGKILL")
        await world.redis.restart()
      }
      const jobs = await readJobs(world)
      const missing = jobs.filter(({ state }) => state === "missing").length
      const orphans = torn ? await countOrphans(world, jobs) : 0
      const restored = await vendor.reconcile()
      const found = await findings(world, vendor, {
        runs: `${count} crashes over ${world.answers.length} archives${torn ? `, ${tears} of them within a transaction` : ""}`,
        measured: `${missing} jobs lost${torn ? `, ${orphans} in no line` : ""}, ${restored} restored by the reconciler`,
        ...(torn && tears === 0 && { failures: ["no transaction was torn: the row has tested nothing"] }),
      })
      return { ...found, check: { ...found.check, redisTorn: torn } }
    } finally {
      file.stop()
      await vendor.close()
    }
  })

/** The number of jobs that exist but are in no line. */
async function countOrphans({ client }: World, jobs: readonly JobState[]): Promise<number> {
  const live = jobs.filter(({ state }) => state === "live")
  const found = await Promise.all(live.map(({ jobId }) => findJob(client, QUEUE, jobId)))
  return found.filter((job) => job === null).length
}

export const redisFlushed: Row = {
  name: "redis-flushed",
  fault: "FLUSHALL while archives are decrypted",
  demand: "10: the reconciler restores 100 %",
  run: (options) =>
    inWorld(options, { workers: 2 }, async (world) => {
      const rounds = scaled(10, options)
      const vendor = await startVendor(world)
      try {
        let restored = 0
        for (let index = 0; index < rounds; index++) {
          const before = world.answers.length
          const feeding = feed(world, 16, 7)
          await until("some callbacks", 60_000, () => world.answers.length >= before + 10)
          world.fault("FLUSHALL")
          await world.client.flushall()
          await feeding
          restored += await vendor.reconcile()
          options.progress?.(`${index + 1} of ${rounds} rounds`)
        }
        return await findings(world, vendor, {
          runs: `${rounds} times, ${world.answers.length} archives`,
          measured: `${restored} restored by the reconciler`,
          ...(restored === 0 && { failures: ["nothing was lost: the row has tested nothing"] }),
        })
      } finally {
        await vendor.close()
      }
    }),
}

/** Runs when the queue is empty: another reconciler finds nothing to do, and I1 is checked against the stores. */
export async function findings(
  world: World,
  vendor: Vendor,
  found: Findings,
  withinMs = 120_000,
): Promise<Findings> {
  await until(
    "the end of all jobs",
    withinMs,
    async () => (await readAccounts(world.client, QUEUE)).live === 0,
  )
  const again = await vendor.reconcile()
  const correct = world.answers.filter(
    ({ archive }) => world.versions.writes(recordKeyOf(archive)) > 0,
  ).length
  return {
    ...found,
    measured: `${found.measured}, ${correct} of ${world.answers.length} archives decrypted`,
    failures: [
      ...(found.failures ?? []),
      ...(again > 0 ? [`a second reconciler has enqueued ${again} archives`] : []),
    ],
    check: { redisForgot: true },
  }
}
