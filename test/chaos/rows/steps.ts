import { partUploads } from "../check.ts"
import { inWorld, type Row, scaled, until } from "../row.ts"
import { QUEUE } from "../settings.ts"
import type { Member } from "../world/members.ts"
import type { World } from "../world/world.ts"

/** The steps of apps/worker, in order. */
export const STEPS = [
  ...[
    "after-pin",
    "after-unwrap",
    "before-create",
    "after-create",
    "after-begin",
    "after-write",
    "after-part",
  ],
  ...["after-seal", "before-fence", "after-fence", "after-complete", "after-record", "after-clear"],
] as const

const MIB = 1024 * 1024
const COMMITTED = new Set<string>(["after-complete", "after-record", "after-clear"])

/**
 * `kill -9` at each named step. There are as many workers as steps, each with one archive of three parts, and each kills itself at
 * its own step. They don't look for stalled jobs, so nobody resumes another's work; then healthy workers do.
 */
export const steps: Row = {
  name: "steps",
  fault: "`kill -9` at each named step of the commit protocol",
  demand: "each step × 20 correct; a kill after complete causes no further part upload",
  run: (options) =>
    inWorld(options, { workers: 0 }, async (world) => {
      const rounds = scaled(20, options)
      const failures: string[] = []
      for (let round = 1; round <= rounds; round++) {
        failures.push(...(await killAtEachStep(world)))
        options.progress?.(`round ${round} of ${rounds}`)
      }
      const kills = rounds * STEPS.length
      return {
        runs: `${STEPS.length} steps × ${rounds}`,
        measured: `${world.answers.length} archives, ${kills - failures.length} kills without a finding`,
        failures,
        check: { kills },
      }
    }),
}

async function killAtEachStep(world: World): Promise<string[]> {
  const archives = await Promise.all(STEPS.map(() => world.record(11 * MIB)))
  await Promise.all(archives.map((archive) => world.call(archive)))
  const dying: Member[] = []
  for (const step of STEPS) {
    // Selects the first, the middle or the last of its parts.
    const passage = step === "after-write" || step === "after-part" ? world.random.integer(1, 3) : 1
    const worker = await world.startWorker({
      UNSEAL_CONCURRENCY: "1",
      UNSEAL_STALL_CHECK_MS: "3600000",
      RIG_FAULT_POINT: `${step}:${passage}:kill`,
    })
    dying.push(worker)
  }
  await Promise.all(dying.map((worker) => until(`the end of ${worker.name}`, 60_000, () => !worker.alive)))
  const killedAt = Date.now()
  // Their look for stalled jobs was to be the only one within the hour.
  await world.client.del(`{${QUEUE}}:${QUEUE}:stalled-check`)
  const healers = await Promise.all([world.startWorker(), world.startWorker()])
  await world.settled(60_000)

  const failures: string[] = []
  for (const { name } of dying) {
    const passed = world.history.entries.filter((entry) => entry.kind === "step" && entry.process === name)
    const last = passed.at(-1)
    if (last?.kind !== "step" || !COMMITTED.has(last.step)) continue
    const archive = archives.find(({ archiveId }) => last.jobId.includes(archiveId))
    const again = partUploads(world).filter(({ key, at }) => key === archive?.destinationKey && at > killedAt)
    if (again.length > 0) failures.push(`${again.length} parts were sent after a kill ${last.step}`)
  }
  for (const healer of healers) await world.kill(healer, "SIGTERM")
  return failures
}
