/** How long the work of a plan takes, and what it costs. */
import type { RestoreTier } from "@unseal/archive/store/contract"
import { OperationError } from "../../operation-error.ts"
import { addWork, noWork, type PlanCounts, type ProjectCounts, totalOf, type Work } from "./counts.ts"

/** Prices in any one currency. */
export interface PlanPrices {
  readonly perThousandReads?: number | undefined
  readonly perThousandWrites?: number | undefined
  /** For each GB (10⁹ bytes) that is read, and again for each that is written. */
  readonly perGigabyte?: number | undefined
  readonly perThousandRestores?: number | undefined
  /** For each GB that is restored. */
  readonly perRestoredGigabyte?: number | undefined
}

export interface EstimateOptions {
  readonly workers: number
  /** The throughput of the network and the stores for one worker, in bytes of archives a second. */
  readonly workerBytesPerSecond: number
  /** The recent commits of all workers; 0 if that is unknown. */
  readonly measuredArchivesPerSecond: number
  /** Absent if archived objects are not asked back. */
  readonly restore?: { readonly tier: RestoreTier; readonly most: number } | undefined
  readonly prices?: PlanPrices
}

export interface PlanEstimate {
  /** All work: what can be read, what is at the vendor, and, with `restore`, what is archived. */
  readonly work: Work
  /** How many objects are to be asked back, and their bytes. */
  readonly restores: { readonly requests: number; readonly bytes: number }
  /** One read for each line, to find out whether it is done. With `restore`, also a look at each object that is not done. */
  readonly looks: number
  readonly hours: {
    /** By the given throughput. */
    readonly byBytes: number
    /** By the archives that were committed lately; `null` if there were none. */
    readonly byArchives: number | null
    /** Until the last object is back; 0 if none is asked back. Work goes on meanwhile. */
    readonly restoring: number
    /** The longest of these. `byBytes` does not count if `byArchives` was measured. */
    readonly total: number
  }
  /** `null` without prices. */
  readonly cost: number | null
}

/** What S3 and Azure document as typical, at the upper end, in hours. */
const RESTORE_HOURS: Readonly<Record<string, Readonly<Record<RestoreTier, number>>>> = {
  GLACIER: { bulk: 12, standard: 5 },
  DEEP_ARCHIVE: { bulk: 48, standard: 12 },
  "INTELLIGENT_TIERING ARCHIVE_ACCESS": { bulk: 12, standard: 5 },
  "INTELLIGENT_TIERING DEEP_ARCHIVE_ACCESS": { bulk: 48, standard: 12 },
  Archive: { bulk: 15, standard: 15 },
}
const SLOWEST = RESTORE_HOURS.DEEP_ARCHIVE!

/** Estimates the time, requests and cost of the work in `counts`. Throws `ERR_OPTION_INVALID` for impossible numbers. */
export function estimatePlan(counts: PlanCounts, options: EstimateOptions): PlanEstimate {
  const { workers, workerBytesPerSecond, measuredArchivesPerSecond, restore, prices = {} } = options
  requirePositive("the number of workers", workers)
  requirePositive("a worker's bytes per second", workerBytesPerSecond)
  if (restore) requirePositive("the number of restores at once", restore.most)

  const total = totalOf(counts)
  const work = noWork()
  addWork(work, total.fresh)
  addWork(work, total.vendor)
  if (restore) addWork(work, total.restored)
  const restores = { requests: 0, bytes: 0 }
  if (restore)
    for (const { archives, restoring, bytes } of Object.values(total.archived)) {
      restores.requests += archives - restoring
      restores.bytes += archives === 0 ? 0 : (bytes * (archives - restoring)) / archives
    }
  const looks = counts.archives + (restore ? work.archives : 0)

  const byBytes = work.bytes / (workers * workerBytesPerSecond) / 3_600
  const byArchives = measuredArchivesPerSecond > 0 ? work.archives / measuredArchivesPerSecond / 3_600 : null
  const restoring = restore ? restoringHours(total, restore) : 0
  const hours = { byBytes, byArchives, restoring, total: Math.max(byArchives ?? byBytes, restoring) }
  return { work, restores, looks, hours, cost: costOf({ work, restores, looks }, prices) }
}

/** How many archives a second were committed in the minutes that had commits; 0 if none had. */
export function rateOfMinutes(perMinute: readonly number[]): number {
  const busy = perMinute.filter((archives) => archives > 0)
  return busy.length === 0 ? 0 : busy.reduce((sum, archives) => sum + archives, 0) / busy.length / 60
}

/** The next object takes each place that becomes free, so the times of the classes add up in proportion. */
function restoringHours(
  { archived }: ProjectCounts,
  { tier, most }: NonNullable<EstimateOptions["restore"]>,
): number {
  let inTurn = 0
  let slowest = 0
  for (const [storageClass, { archives }] of Object.entries(archived)) {
    if (archives === 0) continue
    const hours = (RESTORE_HOURS[storageClass] ?? SLOWEST)[tier]
    inTurn += (archives / most) * hours
    slowest = Math.max(slowest, hours)
  }
  return Math.max(inTurn, slowest)
}

function costOf(
  { work, restores, looks }: Pick<PlanEstimate, "work" | "restores" | "looks">,
  prices: PlanPrices,
): number | null {
  const given = Object.entries(prices).filter(([, price]) => price !== undefined)
  if (given.length === 0) return null
  for (const [name, price] of given)
    if (!(price >= 0 && price <= 1e9))
      throw new OperationError("ERR_OPTION_INVALID", `a price must be from 0 to 1e9, not ${price} (${name})`)
  const {
    perThousandReads = 0,
    perThousandWrites = 0,
    perGigabyte = 0,
    perThousandRestores = 0,
    perRestoredGigabyte = 0,
  } = prices
  return (
    ((work.reads + looks) * perThousandReads) / 1_000 +
    (work.writes * perThousandWrites) / 1_000 +
    (2 * work.bytes * perGigabyte) / 1e9 +
    (restores.requests * perThousandRestores) / 1_000 +
    (restores.bytes * perRestoredGigabyte) / 1e9
  )
}

function requirePositive(name: string, value: number): void {
  if (Number.isFinite(value) && value > 0) return
  throw new OperationError("ERR_OPTION_INVALID", `${name} must be more than 0, not ${value}`)
}
