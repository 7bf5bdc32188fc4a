/** A backfill for people. */
import { counted } from "@unseal/archive/counted"
import { OUTCOMES, type OutcomeCounts } from "@unseal/operations/backfill/home/outcomes"
import type { BackfillStatus } from "@unseal/operations/backfill/places"
import { bytes } from "../terminal/progress.ts"
import { describePace } from "./options.ts"

const NAMES: Readonly<Record<(typeof OUTCOMES)[number], string>> = {
  committed: "committed",
  done: "done before",
  "dead-letter": "dead letters",
  discarded: "discarded",
  refused: "refused",
  unrecorded: "without record",
  cancelled: "cancelled",
}

/** All lines of a manifest. */
export const linesOf = ({ manifest }: Pick<BackfillStatus, "manifest">): number =>
  manifest.archives + manifest.refused

export const settledOf = (outcomes: OutcomeCounts): number =>
  OUTCOMES.reduce((sum, outcome) => sum + outcomes[outcome], 0)

/** Whether it continues, and if not, why. A feeder writes its progress about once a second. */
export function stateOf({ standing, endedAt, fed }: BackfillStatus, now: number = Date.now()): string {
  if (endedAt !== null) return standing.isCancelled ? `cancelled, ended ${endedAt}` : `ended ${endedAt}`
  const silentMs = now - Date.parse(fed?.at ?? "")
  if (fed === null) return "not fed yet: a worker that may feed it will begin within seconds"
  if (silentMs > 60_000)
    return `not fed for ${counted(Math.floor(silentMs / 60_000), "minute")}: no worker that may feed it is running, or Redis was away`
  if (fed.halted !== null) return `halted: ${fed.halted}`
  if (standing.isCancelled) return "cancelled: jobs in the queue still finish"
  if (standing.isPaused) return `paused: "unseal backfill resume" continues it`
  if (!fed.isWithinHours) return "outside its hours: jobs in the queue still finish"
  return "under way"
}

/** Several lines. */
export function describeStatus(status: BackfillStatus): string {
  const { id, home, manifest, standing, outcomes, fed, endedAt } = status
  const rows: [string, string][] = [
    ["backfill", id],
    ["state", stateOf(status)],
    ["started", `${manifest.startedAt}, at the destination of project ${home}`],
    [
      "manifest",
      `${counted(manifest.archives, "archive")} of ${counted(Object.keys(manifest.projects).length, "project")}${manifest.sized > 0 ? `, ${bytes(manifest.bytes)}` : ""}; ${manifest.refused} refused, ${manifest.ignored} ignored`,
    ],
  ]
  if (endedAt === null) rows.push(["pace", describePace(standing.pace)])
  for (const outcome of OUTCOMES)
    if (outcomes[outcome] > 0) rows.push([NAMES[outcome], String(outcomes[outcome])])
  if (fed !== null) {
    if (fed.waiting > 0) rows.push(["in the queue", `${fed.waiting} of at most ${fed.window}`])
    if (fed.delayed > 0) rows.push(["delayed", `${fed.delayed}: they wait for their object or their project`])
    if (fed.restoring > 0) rows.push(["restoring", String(fed.restoring)])
  }
  const left = linesOf(status) - settledOf(outcomes)
  if (endedAt === null) rows.push(["left", `${left}${timeLeft(left, fed?.settledPerSecond ?? 0)}`])
  for (const { projectId, reason } of fed?.blocked ?? [])
    rows.push(["held up", `project ${projectId}: ${reason}`])
  return rows.map(([name, value]) => `${name.padEnd(14)} ${value}\n`).join("")
}

function timeLeft(lines: number, perSecond: number): string {
  if (lines === 0 || perSecond < 0.01) return ""
  const minutes = lines / perSecond / 60
  const time =
    minutes < 1.5
      ? "a minute"
      : minutes < 90
        ? `${Math.round(minutes)} minutes`
        : `${Math.round(minutes / 60)} hours`
  return `, about ${time} at the present ${perSecond < 10 ? perSecond.toFixed(1) : perSecond.toFixed(0)} a second`
}
