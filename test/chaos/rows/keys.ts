import { randomUUID } from "node:crypto"
import { rename, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { inWorld, many, type Row, scaled } from "../row.ts"
import { readJobs } from "../world/jobs.ts"
import { openStudio, type Studio } from "../world/recordings.ts"
import type { World } from "../world/world.ts"

const MIB = 1024 * 1024

/** A new certificate is added, recordings change over to it, and finally the old one is removed. */
export const keyRotation: Row = {
  name: "key-rotation",
  fault: "key rotation under load",
  demand: "0 failures",
  run: (options) =>
    inWorld(options, { workers: 2 }, async (world) => {
      const rotations = scaled(5, options)
      let studio = world.studio
      for (let rotation = 0; rotation < rotations; rotation++) {
        const next = await openStudio()
        // Recordings begun under the old certificate still arrive while the new one is mounted.
        const before = recordMany(world, studio, 8)
        await mount(world, next)
        await recordMany(world, next, 8)
        await before
        await world.settled(60_000)
        await rm(join(world.keysDirectory, nameOf(studio, world)))
        studio = next
      }
      const jobs = await readJobs(world)
      const failed = jobs.filter(({ state, starts }) => state !== "completed" || starts !== 1)
      return {
        runs: `${rotations} rotations, ${jobs.length} archives`,
        measured: `${failed.length} failures`,
        failures: failed.map(({ jobId, failedReason }) => `${jobId}: ${failedReason || "was started again"}`),
      }
    }),
}

const names = new WeakMap<Studio, string>()
const nameOf = (studio: Studio, world: World): string =>
  studio === world.studio ? "key.pem" : (names.get(studio) ?? "")

/** Replaces the directory atomically, as Kubernetes does. */
async function mount(world: World, studio: Studio): Promise<void> {
  const name = `key-${randomUUID()}.pem`
  names.set(studio, name)
  const path = join(world.keysDirectory, name)
  await writeFile(`${path}.new`, studio.privateKeyPem)
  await rename(`${path}.new`, path)
}

async function recordMany(world: World, studio: Studio, count: number): Promise<void> {
  await many(count, 3, async () => {
    const recorded = studio.record(world.random.integer(1, 3) * MIB)
    const archive = world.track(recorded)
    await world.upload(archive.sourceKey, recorded.ciphertext)
    await world.call(archive)
  })
}
