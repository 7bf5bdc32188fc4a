/** The sizes of a run: how a day and its archives fit on a small machine, without the machine as the limit. */
import type { Scale } from "./parameters.ts"

export interface Simulation {
  readonly scale: Scale
  /** Bytes that one archive of the run has. */
  readonly archiveBytes: number
  /** One archive of the run stands for this many of 1.5 GB. */
  readonly archivesInOne: number
  /** The rate of a worker's network in the run. It stands for 100 MB/s. */
  readonly linkBytesPerSecond: number
}

export const ARCHIVE_BYTES = 1.5e9
export const WORKER_BYTES_PER_SECOND = 100e6
const BYTES = 2 ** 20
const ARCHIVES_IN_ONE = 2

/** Time runs `speed` times as fast. */
export function simulationOf(speed: number): Simulation {
  const scale = { time: speed, bytes: (ARCHIVES_IN_ONE * ARCHIVE_BYTES) / BYTES }
  return {
    scale,
    archiveBytes: BYTES,
    archivesInOne: ARCHIVES_IN_ONE,
    linkBytesPerSecond: (WORKER_BYTES_PER_SECOND * scale.time) / scale.bytes,
  }
}
