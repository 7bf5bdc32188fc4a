/** `unseal capacity`: prints what packages/operations estimates. */
import { counted } from "@unseal/archive/counted"
import { type Capacity, type Limit, planCapacity } from "@unseal/operations/capacity/capacity"
import { readDuration } from "../terminal/duration.ts"
import { readNumber } from "../terminal/number.ts"
import { bytes } from "../terminal/progress.ts"
import { readSize } from "../terminal/size.ts"

export interface CapacityCommandOptions {
  readonly archivesPerHour: string
  readonly size: string
  readonly outage: string
  readonly redisMemory: string
  readonly workerRate: string
  readonly latency: string
  readonly tls: boolean
  readonly priceReads?: string
  readonly priceWrites?: string
  readonly priceGb?: string
  readonly json?: true
}

export function capacityCommand(options: CapacityCommandOptions): void {
  const price = (option: string, text: string | undefined) =>
    text === undefined ? undefined : readNumber(option, text)
  const archivesPerHour = readNumber("--archives-per-hour", options.archivesPerHour)
  const archiveBytes = readSize("--size", options.size)
  const plan = planCapacity({
    ...{ archivesPerHour, archiveBytes, tls: options.tls },
    outageHours: readDuration("--outage", options.outage) / 3_600_000,
    redisBytes: readSize("--redis-memory", options.redisMemory),
    workerBytesPerSecond: readSize("--worker-rate", options.workerRate),
    storeLatencyMs: readDuration("--latency", options.latency),
    prices: {
      perThousandReads: price("--price-reads", options.priceReads),
      perThousandWrites: price("--price-writes", options.priceWrites),
      perGigabyte: price("--price-gb", options.priceGb),
    },
  })
  if (options.json) process.stdout.write(`${JSON.stringify(plan)}\n`)
  else
    for (const line of linesOf(plan, archivesPerHour, archiveBytes, options))
      process.stdout.write(`${line}\n`)
}

const round = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(value >= 10 ? 0 : 1)

function linesOf(
  { bytesPerSecond, partsPerArchive, workers, ingest, redis, stores, limits }: Capacity,
  archivesPerHour: number,
  archiveBytes: number,
  { outage }: CapacityCommandOptions,
): string[] {
  const line = (name: string, text: string) => `${name.padEnd(14)} ${text}`
  const [first, ...others] = limits
  return [
    line(
      "load",
      `${round(archivesPerHour)} archives/h of ${bytes(archiveBytes)} in ${counted(partsPerArchive, "part")}: ${bytes(bytesPerSecond)}/s`,
    ),
    line(
      "workers",
      `${workers.count} with ${bytes(workers.memoryBytes)} in all; by network ${round(workers.byNetwork)}, by processor ${round(workers.byProcessor)}, by round trips ${round(workers.byRoundTrips)}, each 70 % busy`,
    ),
    line("ingest", `${ingest.count} with ${bytes(ingest.memoryBytes)} in all`),
    line(
      "processors",
      `${round(workers.cpuCores)} cores busy in workers, ${round(ingest.cpuCores)} in ingest, ${redis.cpuCores.toFixed(2)} in Redis`,
    ),
    line(
      "redis",
      `maxmemory ${bytes(redis.maxmemoryBytes)} for ${outage} of waiting archives; ${round(redis.commandsPerSecond)} commands/s; ${bytes(redis.aofBytesPerHour)}/h of append-only file; ${counted(redis.queues, "queue")}`,
    ),
    line(
      "requests",
      `${stores.readsPerArchive} reads and ${stores.writesPerArchive} writes for an archive; ${round(stores.readsPerSecond)}/s each`,
    ),
    ...(stores.costPerMonth === null
      ? []
      : [line("price", `${round(stores.costPerMonth)} a month at this load`)]),
    ...(first ? [line("first limit", limitText(first))] : []),
    ...others.map((limit) => line("", limitText(limit))),
  ]
}

const limitText = ({ name, share, atArchivesPerHour, beyond }: Limit): string =>
  `${name}: ${Math.round(100 * share)} % used, all at ${round(atArchivesPerHour)} archives/h; then ${beyond}`
