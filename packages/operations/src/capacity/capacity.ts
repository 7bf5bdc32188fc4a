/** `unseal capacity`: what a load needs, from the measured figures. */
import { NEARLY_FULL } from "@unseal/queue/redis/server"
import { OperationError } from "../operation-error.ts"
import { FIGURES } from "./figures.ts"
import { PART_SIZE_BYTES, requestsOf } from "./requests.ts"

const GIB = 2 ** 30
const HOURS_A_MONTH = 730
/**
 * How busy a worker, an ingest process or a core is planned to be. The rest is for bursts, and for processes that end or restart.
 */
const BUSY = 0.7
/** Cores that one worker can use: SHA-256 has its own thread. */
const CORES_A_WORKER = 1.5
/** What the manifests give (k8s/): bytes of memory, and the largest number of workers. */
export const IN_MANIFESTS = {
  workerBytes: 256 * 2 ** 20,
  ingestBytes: 192 * 2 ** 20,
  redisBytes: 768 * 2 ** 20,
  mostWorkers: 20,
} as const
/** Redis without any archive. */
const REDIS_BASE_BYTES = 20e6
/** What Amazon S3 documents for each prefix of a bucket. Others have their own. */
const READS_A_SECOND = 5_500
const WRITES_A_SECOND = 3_500
/** The settings' defaults. */
export const BY_DEFAULT = {
  UNSEAL_PART_SIZE_BYTES: PART_SIZE_BYTES,
  UNSEAL_PARTS_IN_FLIGHT: 8,
  UNSEAL_CONCURRENCY: 8,
} as const

/** Prices in any one currency. What has no price is not added up. */
export interface Prices {
  readonly perThousandReads?: number | undefined
  readonly perThousandWrites?: number | undefined
  /** For each GB (10⁹ bytes) that is read, and again for each that is written. */
  readonly perGigabyte?: number | undefined
}

export interface Load {
  readonly archivesPerHour: number
  readonly archiveBytes: number
  /** How long archives must be able to wait, in hours, while workers or stores are away. Default 1. */
  readonly outageHours?: number
  /** `maxmemory`, in bytes. Default: that of the manifests. */
  readonly redisBytes?: number
  /** The throughput of the network and the stores for one worker, in bytes of archives a second. Default 100 MB. */
  readonly workerBytesPerSecond?: number
  /** Of one request to a store, in milliseconds. Default 50. */
  readonly storeLatencyMs?: number
  /** Whether both stores are reached by TLS. Default `true`. */
  readonly tls?: boolean
  readonly prices?: Prices
}

export interface Limit {
  readonly name: "redis processor" | "redis memory" | "source reads" | "destination writes" | "workers"
  /** Of what there is; 1 is all of it. */
  readonly share: number
  /** The load at which all of it is used. */
  readonly atArchivesPerHour: number
  /** How to go beyond it, as a clause. */
  readonly beyond: string
}

export interface Capacity {
  readonly bytesPerSecond: number
  readonly partsPerArchive: number
  /** What each thing alone would need; `count` is for the largest, 70 % busy, and at least two. */
  readonly workers: {
    readonly count: number
    readonly byNetwork: number
    readonly byProcessor: number
    readonly byRoundTrips: number
    readonly cpuCores: number
    readonly memoryBytes: number
  }
  readonly ingest: { readonly count: number; readonly cpuCores: number; readonly memoryBytes: number }
  readonly redis: {
    readonly cpuCores: number
    /** With everything of an outage waiting, and an hour's committed archives. */
    readonly memoryBytes: number
    /** The `maxmemory` for that. */
    readonly maxmemoryBytes: number
    readonly commandsPerSecond: number
    readonly aofBytesPerHour: number
    /** Queues on Redis servers of their own, so that no server is more than 70 % busy. */
    readonly queues: number
  }
  readonly stores: {
    readonly readsPerArchive: number
    readonly writesPerArchive: number
    readonly readsPerSecond: number
    readonly writesPerSecond: number
    /** `null` without prices. */
    readonly costPerMonth: number | null
  }
  /** The one that comes first is first. */
  readonly limits: readonly Limit[]
}

/** Estimates what `load` needs. Throws `ERR_OPTION_INVALID` for impossible numbers. */
export function planCapacity(load: Load): Capacity {
  const { outageHours = 1, redisBytes = IN_MANIFESTS.redisBytes } = load
  const { workerBytesPerSecond = 100e6, storeLatencyMs = 50 } = load
  const { archivesPerHour, archiveBytes, tls = true, prices = {} } = load
  requireNumber("archives per hour", archivesPerHour, { above: 0, most: 1e9 })
  requireNumber("the size of an archive, in bytes,", archiveBytes, { above: 0, most: 5e13 })
  requireNumber("the hours of an outage", outageHours, { most: 10_000 })
  requireNumber("Redis' memory, in bytes,", redisBytes, { above: 0, most: 1e15 })
  requireNumber("a worker's bytes per second", workerBytesPerSecond, { above: 0, most: 1e12 })
  requireNumber("the latency of a store, in milliseconds,", storeLatencyMs, { most: 60_000 })
  for (const price of Object.values(prices))
    if (price !== undefined) requireNumber("a price", price, { most: 1e9 })

  const perSecond = archivesPerHour / 3_600
  const bytesPerSecond = perSecond * archiveBytes
  const { parts, reads: requests } = requestsOf(archiveBytes)
  const moreParts = parts === 1 ? 0 : parts

  const gibCpu = FIGURES.workerCpuSecondsPerGib.value + (tls ? FIGURES.tlsCpuSecondsPerGib.value : 0)
  const workerCores = perSecond * (FIGURES.workerCpuMs.value / 1_000 + (archiveBytes / GIB) * gibCpu)
  // The requests that an archive makes one after the other. Parts go side by side.
  const inTurn =
    parts === 1
      ? 2 * requests
      : 2 * FIGURES.requestsBesideParts.value + 2 * Math.ceil(parts / BY_DEFAULT.UNSEAL_PARTS_IN_FLIGHT)
  const byNetwork = bytesPerSecond / workerBytesPerSecond
  const byProcessor = workerCores / CORES_A_WORKER
  const byRoundTrips = (perSecond * inTurn * (storeLatencyMs / 1_000)) / BY_DEFAULT.UNSEAL_CONCURRENCY
  const needed = Math.max(byNetwork, byProcessor, byRoundTrips) / BUSY
  const workers = Math.max(2, Math.ceil(needed))
  const ingests = Math.max(2, Math.ceil(perSecond / (FIGURES.ingestPerSecond.value * BUSY)))

  const commands = FIGURES.commands.value + moreParts * FIGURES.commandsPerPart.value
  // A part's commands are assumed to cost as much as the others.
  const redisCores = (perSecond * (FIGURES.redisCpuMs.value / 1_000) * commands) / FIGURES.commands.value
  const redisMemory =
    REDIS_BASE_BYTES + archivesPerHour * (outageHours * FIGURES.waitingBytes.value + FIGURES.keptBytes.value)
  const monthly = archivesPerHour * HOURS_A_MONTH
  const { perThousandReads = 0, perThousandWrites = 0, perGigabyte = 0 } = prices
  const cost =
    monthly *
    ((requests * (perThousandReads + perThousandWrites)) / 1_000 + (2 * archiveBytes * perGigabyte) / 1e9)

  const limit = (name: Limit["name"], share: number, beyond: string): Limit => ({
    ...{ name, share, beyond },
    atArchivesPerHour: archivesPerHour / share,
  })
  // Redis needs its own memory at any load.
  const memoryShare =
    (redisMemory - REDIS_BASE_BYTES) / Math.max(1, redisBytes * NEARLY_FULL - REDIS_BASE_BYTES)
  const limits = [
    limit(
      "redis processor",
      redisCores,
      "split the projects over several queues, each on a Redis of its own",
    ),
    limit("redis memory", memoryShare, "raise maxmemory, or plan for a shorter outage"),
    limit(
      "source reads",
      (perSecond * requests) / READS_A_SECOND,
      "use more prefixes or buckets for the sources",
    ),
    limit(
      "destination writes",
      (perSecond * requests) / WRITES_A_SECOND,
      "use more prefixes or buckets for the destinations",
    ),
    limit(
      "workers",
      needed / IN_MANIFESTS.mostWorkers,
      `raise the autoscaler's maximum, which is ${IN_MANIFESTS.mostWorkers} in the manifests`,
    ),
  ]
  return {
    bytesPerSecond,
    partsPerArchive: parts,
    workers: {
      ...{ count: workers, byNetwork, byProcessor, byRoundTrips },
      ...{ cpuCores: workerCores, memoryBytes: workers * IN_MANIFESTS.workerBytes },
    },
    ingest: {
      count: ingests,
      cpuCores: (perSecond * FIGURES.ingestCpuMs.value) / 1_000,
      memoryBytes: ingests * IN_MANIFESTS.ingestBytes,
    },
    redis: {
      ...{ cpuCores: redisCores, memoryBytes: redisMemory, maxmemoryBytes: redisMemory / NEARLY_FULL },
      commandsPerSecond: perSecond * commands,
      aofBytesPerHour: archivesPerHour * (FIGURES.aofBytes.value + moreParts * FIGURES.aofBytesPerPart.value),
      queues: Math.max(1, Math.ceil(redisCores / BUSY)),
    },
    stores: {
      ...{ readsPerArchive: requests, writesPerArchive: requests },
      ...{ readsPerSecond: perSecond * requests, writesPerSecond: perSecond * requests },
      costPerMonth: Object.values(prices).some((price) => price !== undefined) ? cost : null,
    },
    limits: limits.toSorted((a, b) => b.share - a.share),
  }
}

function requireNumber(name: string, value: number, { above, most }: { above?: number; most: number }): void {
  const isLow = above === undefined ? value < 0 : value <= above
  if (Number.isFinite(value) && !isLow && value <= most) return
  const range = above === undefined ? `from 0 to ${most}` : `more than ${above}, and at most ${most}`
  throw new OperationError("ERR_OPTION_INVALID", `${name} must be ${range}, not ${value}`)
}
