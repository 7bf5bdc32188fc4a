/** Callbacks that come twice, too early, or from somebody else. */

import { randomUUID } from "node:crypto"
import { readAccounts } from "@unseal/queue/accounting"
import { inWorld, many, type Row, scaled, until } from "../row.ts"
import { QUEUE } from "../settings.ts"
import { acceptedJobs, readJobs } from "../world/jobs.ts"
import type { World } from "../world/world.ts"

const MIB = 1024 * 1024

export const duplicates: Row = {
  name: "duplicates",
  fault: "duplicate callbacks × 100 in parallel over several ingests",
  demand: "one execution",
  run: (options) =>
    inWorld(options, { workers: 1, ingests: 2 }, async (world) => {
      const archives = scaled(10, options)
      const failures: string[] = []
      for (let index = 0; index < archives; index++) {
        const archive = await world.record(2 * MIB)
        const answers = await many(100, 100, (nth) => world.call(archive, world.ingests[nth % 2]))
        const enqueued = answers.filter(({ outcome }) => outcome === "enqueued").length
        if (enqueued !== 1) failures.push(`${enqueued} of 100 callbacks were told that they were the first`)
      }
      await world.settled(60_000)
      const jobs = await readJobs(world)
      for (const { jobId, starts } of jobs)
        if (starts !== 1) failures.push(`${jobId} was started ${starts} times`)
      return {
        runs: `${archives} archives × 100 callbacks over 2 ingests`,
        measured: `${jobs.length} jobs, ${jobs.reduce((sum, { starts }) => sum + starts, 0)} starts`,
        failures,
      }
    }),
}

export const late: Row = {
  name: "late",
  fault: "callback before the object is visible",
  demand: "waits on its own budget; done ≤ 10 s after it appears",
  run: (options) =>
    inWorld(options, { workers: 1 }, async (world) => {
      const runs = scaled(20, options)
      const failures: string[] = []
      let slowest = 0
      await many(runs, 10, async () => {
        const recorded = world.studio.record(2 * MIB)
        const archive = world.track(recorded)
        await world.call(archive)
        await new Promise((resolve) => setTimeout(resolve, world.random.integer(2_000, 8_000)))
        await world.upload(archive.sourceKey, recorded.ciphertext)
        const appearedAt = performance.now()
        await until("the plaintext", 30_000, () => world.versions.of(archive.destinationKey).length > 0)
        slowest = Math.max(slowest, performance.now() - appearedAt)
      })
      await world.settled(30_000)
      if (slowest > 10_000) failures.push(`the slowest was done ${Math.round(slowest)} ms after it appeared`)
      for (const { jobId, attempts } of await readJobs(world))
        if (attempts > 1) failures.push(`${jobId} has used ${attempts} attempts`)
      return {
        runs: `${runs} archives`,
        measured: `slowest ${Math.round(slowest)} ms after it appeared`,
        failures,
      }
    }),
}

/**
 * Somebody who can send callbacks (a leaked secret, an unsigned setup) announces an archive with another password before the
 * vendor does.
 */
export const forged: Row = {
  name: "forged",
  fault: "a forged callback before the true one, with the same archive id",
  demand: "the true archive is decrypted; the forged one is a dead letter",
  run: (options) =>
    inWorld(options, { workers: 1 }, async (world) => {
      const runs = scaled(20, options)
      for (let index = 0; index < runs; index++) {
        const archive = await world.record(2 * MIB)
        const password = Buffer.alloc(256, world.random.integer(1, 100)).toString("base64")
        // The forged callback ends in its own dead letter. The checker looks for the true one's output.
        await world.call({ ...archive, encryptedPassword: password })
        await world.call(archive)
      }
      await world.settled(60_000)
      const jobs = await readJobs(world)
      return {
        runs: `${runs} pairs`,
        measured: `${jobs.filter(({ state }) => state === "completed").length} decrypted, ${jobs.filter(({ state }) => state === "failed").length} dead letters`,
      }
    }),
}

/** Without a worker and without objects, acknowledged callbacks are counted in the queue. */
export const ingestRestart: Row = {
  name: "ingest-restart",
  fault: "ingest restarts under 300 req/s",
  demand: "acknowledged = enqueued exactly",
  run: (options) =>
    inWorld(options, { workers: 0, ingests: 2 }, async (world) => {
      const seconds = scaled(30, options, 4)
      const recorded = world.studio.record(20_000)
      const ports = world.ingests.map((ingest) => ingest.ports.http!)
      const calls: Promise<unknown>[] = []
      const restarts: Promise<unknown>[] = []
      const startedAt = performance.now()
      for (let tick = 0; tick < seconds * 10; tick++) {
        for (let nth = 0; nth < 30; nth++) {
          const archive = world.track({ ...recorded, archiveId: randomUUID() }, "queued")
          calls.push(world.call(archive, world.members[nth % 2]))
        }
        if (tick % 20 === 10) {
          const restarting = restart(world, ports[restarts.length % 2]!)
          // Awaited at the end. Until then its failure must not count as unhandled.
          restarting.catch(() => {})
          restarts.push(restarting)
        }
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      const rate = calls.length / ((performance.now() - startedAt) / 1_000)
      await Promise.all(restarts)
      await Promise.all(calls)
      const enqueued = (await readAccounts(world.client, QUEUE)).accepted
      const refused = world.answers.filter(({ accepted }) => !accepted).length
      return {
        runs: `${calls.length} callbacks at ${Math.round(rate)} req/s, ${restarts.length} restarts`,
        measured: `${acceptedJobs(world).size} acknowledged, ${enqueued} enqueued`,
        failures: refused > 0 ? [`${refused} callbacks were refused for good`] : [],
      }
    }),
}

/** Replaces the ingest on this port, because its senders know no other port. */
async function restart(world: World, port: number): Promise<void> {
  const ingest = world.ingests.find(({ ports }) => ports.http === port)
  // The previous replacement is still starting.
  if (ingest === undefined) return
  await world.kill(ingest, "SIGTERM")
  await world.startIngest(port)
}
