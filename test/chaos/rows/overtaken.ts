/** Two runs, and only one of them may have an effect. */

import { inWorld, type Row, scaled, until } from "../row.ts"
import type { Tracked } from "../world/archives.ts"
import type { Member } from "../world/members.ts"
import type { World } from "../world/world.ts"

const MIB = 1024 * 1024
/** Renewals are further apart than these scenarios last, so that only the fence can notice a lost lock. */
const LONG_LOCK = { UNSEAL_LOCK_MS: "60000", UNSEAL_STALL_CHECK_MS: "300" }

/** Starts a worker for one job, and holds it at `step` until `release`. */
async function startHolding(world: World, step: string): Promise<Member> {
  return world.startWorker({ UNSEAL_CONCURRENCY: "1", RIG_FAULT_POINT: `${step}:1:hold` })
}

function release(world: World, holding: Member): void {
  world.fault("released", holding.name)
  holding.kill("SIGUSR2")
}

/**
 * Redis loses the lock of a run that stands right before its fence, as in a failover to a replica that had not received the
 * lock. Another worker takes the job and commits it.
 */
export const lockLost: Row = {
  name: "lock-lost",
  fault: "a lock that Redis has lost, right before the commit",
  demand:
    "the run without its lock does not try to commit; one content of every visible key, records included",
  run: (options) =>
    inWorld(options, { workers: 0, workerEnv: LONG_LOCK }, async (world) => {
      const runs = scaled(20, options)
      const failures: string[] = []
      for (let index = 0; index < runs; index++) {
        const slow = await startHolding(world, "before-fence")
        const archive = await world.record(6 * MIB)
        const { jobId } = await world.call(archive)
        await untilStep(world, archive, "before-fence")
        const other = await world.startWorker()
        world.fault("lock removed", slow.name)
        await world.client.del(`{unseal}:unseal:${jobId}:lock`)
        await until("the other's commit", 20_000, () => hasPassed(world, archive, "after-clear", other.name))
        await world.settled(30_000)
        // The overtaken run reaches its fence only now.
        release(world, slow)
        await until("the slow run's end", 20_000, () =>
          slow.log.some(
            ({ msg }) => `${msg}`.startsWith("archive's lock was lost") || msg === "archive committed",
          ),
        )
        for (const worker of [slow, other]) await world.kill(worker, "SIGTERM")
        if (hasPassed(world, archive, "after-fence", slow.name))
          failures.push(`${slow.name} passed its fence without the lock of ${jobId}`)
      }
      return {
        runs: `${runs} locks`,
        measured: `${world.versions.keys.length} keys were made visible`,
        failures,
      }
    }),
}

/**
 * One archive has two jobs (its password was encrypted twice), and its source is replaced between their reads. That makes two
 * plaintexts, and the key may have only one of them. Meanwhile the first run stands between its fence and its commit.
 */
export const twoContents: Row = {
  name: "two-contents",
  fault: "two jobs with different contents for one key, the first stopped before its commit",
  demand: "the first content that is visible stays; the other job is a dead letter",
  run: (options) =>
    inWorld(options, { workers: 0 }, async (world) => {
      const runs = scaled(20, options)
      for (let index = 0; index < runs; index++) {
        const first = world.studio.record(6 * MIB)
        const second = world.studio.rewrap(world.studio.retake(first))
        const expected = { output: new Set([first.plaintext, second.plaintext]) }
        const [one, two] = [world.track(first, expected), world.track(second, expected)]
        await world.upload(one.sourceKey, first.ciphertext)
        const slow = await startHolding(world, "after-fence")
        await world.call(one)
        await untilStep(world, one, "after-fence")
        world.fault("source replaced")
        await world.upload(two.sourceKey, second.ciphertext)
        const other = await world.startWorker()
        await world.call(two)
        await until("the other's commit", 20_000, () => hasPassed(world, two, "after-record", other.name))
        release(world, slow)
        await world.settled(60_000)
        for (const worker of [slow, other]) await world.kill(worker, "SIGTERM")
      }
      return { runs: `${runs} pairs`, measured: `${world.versions.keys.length} keys were made visible` }
    }),
}

const hasPassed = (world: World, { archiveId }: Tracked, step: string, process?: string): boolean =>
  world.history.entries.some(
    (entry) =>
      entry.kind === "step" &&
      entry.step === step &&
      entry.jobId.includes(archiveId) &&
      (process === undefined || entry.process === process),
  )

export const untilStep = (world: World, archive: Tracked, step: string): Promise<void> =>
  until(`step ${step}`, 30_000, () => hasPassed(world, archive, step))
