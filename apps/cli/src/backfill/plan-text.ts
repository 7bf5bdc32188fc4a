/** A plan for people. */
import { type PlanCounts, type ProjectCounts, totalOf } from "@unseal/operations/backfill/plan/counts"
import type { PlanEstimate } from "@unseal/operations/backfill/plan/estimate"
import { bytes } from "../terminal/progress.ts"

export interface PlanTextOptions {
  readonly workers: number
  readonly workerRate: string
  readonly restore?: string
  readonly restoreMost: string
}

const whole = (value: number): string => Math.round(value).toLocaleString("en")
const counted = (count: number, one: string, many = `${one}s`): string =>
  `${whole(count)} ${count === 1 ? one : many}`

/** The lines of the plan: all projects together, then each one if there are several. */
export function planLines(counts: PlanCounts, estimate: PlanEstimate, options: PlanTextOptions): string[] {
  const projects = Object.entries(counts.projects)
  const total = totalOf(counts)
  const rows: [name: string, text: string][] = [
    ["manifest", manifestText(counts)],
    ...counts.malformedLines.map(({ line, reason }): [string, string] => ["", `line ${line}: ${reason}`]),
    ...stateRows(total, options),
    ...Object.entries(counts.unconfigured).map(([id, archives]): [string, string] => [
      "no project",
      `${id}, of ${counted(archives, "archive")}: the project's source and destination are not configured here`,
    ]),
    ...Object.entries(counts.unseen).map(([id, permission]): [string, string] => [
      "maybe hidden",
      `project ${id}: without the permission ${permission}, a forbidden object looks like a missing one`,
    ]),
    ["requests", requestsText(estimate)],
    ["hours", hoursText(estimate, options)],
    ...(estimate.cost === null ? [] : [["price", priceText(estimate.cost)] as [string, string]]),
  ]
  if (projects.length > 1) for (const [id, own] of projects) rows.push([`project ${id}`, summaryOf(own)])
  const width = Math.max(...rows.map(([name]) => name.length)) + 2
  return rows.map(([name, text]) => `${name.padEnd(width)}${text}`)
}

function manifestText({ archives, malformed, ignored, projects }: PlanCounts): string {
  const reasons = Object.entries(ignored).map(([reason, lines]) => `${whole(lines)} ${reason}`)
  return [
    `${counted(archives, "archive")} of ${counted(Object.keys(projects).length, "project")}`,
    ...(malformed > 0 ? [`${counted(malformed, "line is", "lines are")} malformed`] : []),
    ...(reasons.length > 0 ? [`ignored: ${reasons.join(", ")}`] : []),
  ].join("; ")
}

function stateRows(total: ProjectCounts, { restore }: PlanTextOptions): [string, string][] {
  const { fresh, vendor, archived, discarded } = total
  const sized = ({ archives, bytes: size }: { archives: number; bytes: number }) =>
    `${counted(archives, "archive")}, ${bytes(size)}`
  const rows: [string, string][] = [
    ["done", `${whole(total.done)}: their records are at the destination`],
    ["in the queue", whole(total.live)],
    [
      "dead letters",
      total.dead === 0 ? "0" : `${whole(total.dead)}: redrive or discard them; a backfill leaves them alone`,
    ],
    ["to decrypt", sized(fresh)],
  ]
  if (vendor.archives > 0) rows.push(["at the vendor", `${sized(vendor)} according to the manifest`])
  for (const [storageClass, { archives, bytes: size, restoring }] of Object.entries(archived))
    rows.push([
      "archived",
      `${storageClass}: ${sized({ archives, bytes: size })}, ${whole(restoring)} on their way back${restore === undefined ? "; without --restore they wait 72 hours, and are then dead letters" : ""}`,
    ])
  if (discarded > 0) rows.push(["discarded", `${whole(discarded)} of these: a backfill enqueues them again`])
  rows.push([
    "missing",
    total.missing === 0 ? "0" : `${whole(total.missing)}: no object at the source under any of the keys`,
  ])
  if (total.unknown > 0)
    rows.push(["not looked at", `${whole(total.unknown)}: their projects' stores have trouble (see below)`])
  return rows
}

function requestsText({ work, looks, restores }: PlanEstimate): string {
  const asked =
    restores.requests === 0
      ? ""
      : `, and ${counted(restores.requests, "restore")} of ${bytes(restores.bytes)}`
  return `${whole(work.reads + looks)} reads and ${whole(work.writes)} writes for ${counted(work.archives, "archive")} of ${bytes(work.bytes)}${asked}`
}

function hoursText(
  { hours: { byBytes, byArchives, restoring, total } }: PlanEstimate,
  { workers, workerRate, restoreMost }: PlanTextOptions,
): string {
  const hours = (value: number) =>
    value === 0 ? "0" : value < 0.1 ? "less than 0.1" : value < 10 ? value.toFixed(1) : whole(value)
  return [
    `${hours(total)}: ${hours(byBytes)} by bytes, for ${counted(workers, "worker")} of ${workerRate} a second each`,
    byArchives === null
      ? "no measured rate, because nothing was committed in the last hour"
      : `${hours(byArchives)} by archives, at the rate of the last hour's commits`,
    ...(restoring > 0 ? [`${hours(restoring)} until the last object is back, ${restoreMost} at once`] : []),
  ].join("; ")
}

const priceText = (cost: number): string => (cost >= 100 ? whole(cost) : cost.toFixed(2))

function summaryOf({ done, live, dead, missing, unknown, fresh, vendor, restored }: ProjectCounts): string {
  const parts: [number, string][] = [
    ...([
      [done, "done"],
      [live, "in the queue"],
      [dead, "dead letters"],
    ] as [number, string][]),
    [fresh.archives + vendor.archives, `to decrypt (${bytes(fresh.bytes + vendor.bytes)})`],
    [restored.archives, `archived (${bytes(restored.bytes)})`],
    [missing, "missing"],
    [unknown, "not looked at"],
  ]
  return parts
    .filter(([archives]) => archives > 0)
    .map(([archives, what]) => `${whole(archives)} ${what}`)
    .join(", ")
}
