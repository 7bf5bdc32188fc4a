/** `unseal backfill plan`: prints the counts and estimates of packages/operations. */
import { UnsealError } from "@unseal/archive/errors"
import { openStore } from "@unseal/archive/store/open"
import { estimatePlan, rateOfMinutes } from "@unseal/operations/backfill/plan/estimate"
import type { PlannedProject } from "@unseal/operations/backfill/plan/look"
import { type PlannedLine, planBackfill } from "@unseal/operations/backfill/plan/plan"
import { readThroughput } from "@unseal/queue/throughput"
import { readWorkers } from "@unseal/queue/workers"
import { env, readPlanSettings } from "../config.ts"
import { withQueue } from "../queue/connection.ts"
import { throwWorst, UsageError } from "../terminal/exit.ts"
import { readNumber } from "../terminal/number.ts"
import { readSize } from "../terminal/size.ts"
import { sayNotices } from "../terminal/store-notices.ts"
import { readManifestLines } from "./manifest-lines.ts"
import { planLines } from "./plan-text.ts"
import { listedTime, readVendorManifest, type VendorManifestOptions } from "./vendor-manifest.ts"

export interface PlanCommandOptions extends VendorManifestOptions {
  readonly project?: string
  readonly restore?: "bulk" | "standard"
  readonly restoreMost: string
  readonly workers?: string
  readonly workerRate: string
  readonly priceReads?: string
  readonly priceWrites?: string
  readonly priceGb?: string
  readonly priceRestores?: string
  readonly priceRestoredGb?: string
  readonly json?: true
}

/** How many minutes of commits are measured. */
const MEASURED_MINUTES = 60
/** The number in the manifests (k8s/). */
const FEWEST_WORKERS = 2

export async function planCommand(
  paths: readonly string[],
  options: PlanCommandOptions,
  signal: AbortSignal,
): Promise<void> {
  const given = numbersOf(options)
  const time = listedTime(paths, options)
  const { projects, vendors } = readPlanSettings()
  const project = options.project?.toLowerCase()
  if (project !== undefined && !projects.get(project)) throw new UsageError(`there is no project ${project}`)
  const hasVendor = (id: string) => vendors.get(id)?.credentials !== undefined
  const failures: UnsealError[] = []

  const linesOf = (): AsyncIterable<PlannedLine> =>
    time === null
      ? readManifestLines(paths, project ?? (env.UNSEAL_PROJECT_ID?.toLowerCase() || undefined), signal)
      : readVendorManifest(vendors, project, time, (id, error) => failures.push(of(id, error)), signal)

  await withQueue(async ({ connection, queue }) => {
    const progress = progressOn(process.stderr)
    const counts = await planBackfill(
      {
        ...{ connection, queue, hasVendor },
        projectOf: (id) => plannedProject(projects.get(id)),
        openStore: (url) => openStore(url, { env, onNotice: sayNotices(url) }),
      },
      linesOf(),
      { onProgress: progress.seen },
      signal,
    ).finally(progress.end)
    const [perMinute, { workers: seen }] = await Promise.all([
      readThroughput(connection, queue, MEASURED_MINUTES),
      readWorkers(connection, queue),
    ])
    const { restore } = options
    const workers = given.workers ?? Math.max(FEWEST_WORKERS, seen.length)
    const estimate = estimatePlan(counts, {
      ...{ ...given, workers, measuredArchivesPerSecond: rateOfMinutes(perMinute) },
      restore: restore && { tier: restore, most: given.restoreMost },
    })
    if (options.json)
      process.stdout.write(`${JSON.stringify({ ...counts, estimate: { workers, ...estimate } })}\n`)
    else
      for (const line of planLines(counts, estimate, { ...options, workers }))
        process.stdout.write(`${line}\n`)
    for (const { projectId, code, reason, remedy } of counts.troubles)
      failures.push(of(projectId, new UnsealError(code, reason, { remedy })))
  }, signal)
  throwWorst(failures)
}

const of = (projectId: string, error: UnsealError): UnsealError =>
  new UnsealError(error.code, `project ${projectId}: ${error.message}`, {
    cause: error,
    remedy: error.ownRemedy,
  })

function plannedProject(
  project: ReturnType<ReturnType<typeof readPlanSettings>["projects"]["get"]>,
): PlannedProject | undefined {
  if (project?.source === undefined || project.destination === undefined) return undefined
  const { id, source, destination, sourceKeys, destinationKey } = project
  return { id, source, destination, sourceKeys, destinationKey }
}

function numbersOf(options: PlanCommandOptions) {
  const price = (option: string, text: string | undefined) =>
    text === undefined ? undefined : readNumber(option, text)
  return {
    workers: options.workers === undefined ? undefined : readNumber("--workers", options.workers),
    workerBytesPerSecond: readSize("--worker-rate", options.workerRate),
    restoreMost: readNumber("--restore-most", options.restoreMost),
    prices: {
      perThousandReads: price("--price-reads", options.priceReads),
      perThousandWrites: price("--price-writes", options.priceWrites),
      perGigabyte: price("--price-gb", options.priceGb),
      perThousandRestores: price("--price-restores", options.priceRestores),
      perRestoredGigabyte: price("--price-restored-gb", options.priceRestoredGb),
    },
  }
}

/** Shows on a terminal how many lines were read so far, and how many a second. */
function progressOn(output: NodeJS.WriteStream) {
  if (!output.isTTY) return { seen() {}, end() {} }
  const startedAt = performance.now()
  return {
    seen(lines: number): void {
      const rate = lines / Math.max(0.001, (performance.now() - startedAt) / 1_000)
      output.write(`\r\x1b[K${lines} lines, ${rate.toFixed(0)}/s`)
    },
    /** Clears the line. */
    end: () => void output.write("\r\x1b[K"),
  }
}
