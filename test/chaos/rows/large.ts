import { partUploads, wastedParts } from "../check.ts"
import { inWorld, type Row, scaled, until } from "../row.ts"
import { PARTS_IN_FLIGHT } from "../settings.ts"
import { usageOf } from "../world/members.ts"

const MIB = 1024 * 1024
const GIB = 1024 * MIB

/** Killed halfway. Without a digest of the whole, parts already written need not be read again either. */
export const large: Row = {
  name: "large",
  fault: "10 GB object, its worker killed at 50 %",
  demand: "flat memory; uploads and (digest off) reads again ≤ the parts in flight",
  run: (options) =>
    inWorld(
      options,
      { workers: 1, workerEnv: { UNSEAL_DIGEST: "none", UNSEAL_PART_SIZE_BYTES: String(8 * MIB) } },
      async (world) => {
        const size = scaled(10 * GIB, options, 100 * MIB)
        const archive = await world.recordLarge(size)
        const parts = Math.ceil(archive.size / (8 * MIB))
        const [first] = world.workers
        const memory = sampleMemory(() => world.workers.map(({ pid }) => pid))
        await world.call(archive)
        await until("half of it", 1_800_000, () => partUploads(world).length >= parts / 2)
        const sentBefore = partUploads(world).length
        await world.kill(first!)
        await world.startWorker()
        await world.settled(1_800_000)
        const { first: base, most } = memory.stop()
        const again = wastedParts(world)
        const read = world.history.entries.reduce(
          (sum, entry) =>
            entry.kind === "store" &&
            entry.operation.operation === "GetObject" &&
            entry.operation.key === archive.sourceKey
              ? sum + entry.operation.bytesOut
              : sum,
          0,
        )
        const readAgain = (read - archive.size) / (8 * MIB)
        return {
          runs: `${(archive.size / GIB).toFixed(2)} GiB in ${parts} parts, killed after ${sentBefore}`,
          measured: `memory ${base} MB at first, ${most} MB at most; ${again} parts sent and ${readAgain.toFixed(1)} read again`,
          failures: [
            ...(again > PARTS_IN_FLIGHT ? [`${again} parts were sent again`] : []),
            // The first part is read to prove the key, and the last block for the tail.
            ...(readAgain > PARTS_IN_FLIGHT + 1.5 ? [`${readAgain} parts were read again`] : []),
            ...(most > base + 400 ? [`memory grew from ${base} to ${most} MB`] : []),
          ],
          check: { kills: 1 },
        }
      },
    ),
}

/** Samples ten times a second until it is stopped. */
function sampleMemory(pids: () => number[]) {
  let first = 0
  let most = 0
  const timer = setInterval(() => {
    for (const pid of pids())
      try {
        const { residentMb } = usageOf(pid)
        first ||= residentMb
        most = Math.max(most, residentMb)
      } catch {
        // It ended between the list and the sample.
      }
  }, 100)
  return {
    stop() {
      clearInterval(timer)
      return { first, most }
    },
  }
}
