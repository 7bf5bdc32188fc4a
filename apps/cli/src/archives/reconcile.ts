/** `unseal archives reconcile`: prints what packages/operations finds and enqueues. */
import { counted } from "@unseal/archive/counted"
import type { UnsealError } from "@unseal/archive/errors"
import { openStore } from "@unseal/archive/store/open"
import { type Findings, MIN_LOOK_BACK_MS, reconcile } from "@unseal/operations/reconcile"
import type { Lane } from "@unseal/queue/jobs/lane"
import { env, readReconcileSettings } from "../config.ts"
import { withQueue } from "../queue/connection.ts"
import { readDuration } from "../terminal/duration.ts"
import { throwWorst, UsageError } from "../terminal/exit.ts"
import { sayNotices } from "../terminal/store-notices.ts"
import { openVendor } from "../vendor.ts"

export interface ReconcileCommandOptions {
  readonly project?: string
  readonly lookBack: string
  readonly dryRun?: true
  readonly lane: Lane
  readonly json?: true
}

export async function reconcileCommand(options: ReconcileCommandOptions, signal: AbortSignal): Promise<void> {
  const lookBackMs = readDuration("--look-back", options.lookBack, { min: MIN_LOOK_BACK_MS })
  const dryRun = options.dryRun === true
  const { projects: all, vendors } = readReconcileSettings()
  const wanted = options.project === undefined ? all.ids : [options.project.toLowerCase()]
  for (const id of wanted) if (!all.get(id)) throw new UsageError(`there is no project ${id}`)
  const hasCredentials = (id: string) => vendors.get(id)?.credentials !== undefined
  // For a single project that is an error, which says which settings are missing.
  if (!wanted.some(hasCredentials)) openVendor({ project: wanted[0]! })

  const findings: Findings[] = []
  const failures: UnsealError[] = []
  await withQueue(
    async (access) => {
      const dependencies = {
        ...access,
        openStore: (url: string) => openStore(url, { env, onNotice: sayNotices(url) }),
        vendorOf: (project: string) => (hasCredentials(project) ? openVendor({ project }).client : null),
      }
      const projects = wanted.map((id) => all.get(id)!)
      for await (const event of reconcile(
        dependencies,
        { projects, lookBackMs, dryRun, lane: options.lane },
        signal,
      )) {
        if (event.kind === "enqueued") continue
        if (event.kind === "left-out") {
          process.stderr.write(
            `project ${event.projectId} is left out: it has no credentials for the REST API\n`,
          )
          continue
        }
        if (event.kind === "failed") failures.push(event.error)
        // If nothing could be looked at, zeros would be wrong.
        if (event.kind === "reconciled" || event.findings.archives > 0) findings.push(event.findings)
      }
    },
    signal,
    { enqueues: true },
  )
  report(findings, options)
  throwWorst(failures)
}

function report(findings: readonly Findings[], options: ReconcileCommandOptions): void {
  const dryRun = Boolean(options.dryRun)
  if (options.json) process.stdout.write(`${JSON.stringify({ dryRun, projects: findings })}\n`)
  for (const found of findings) {
    if (!options.json) {
      for (const { archiveId, jobId } of found.enqueued)
        process.stdout.write(`${dryRun ? "would enqueue" : "enqueued"} ${archiveId} as ${jobId}\n`)
      for (const { archiveId, jobId } of found.deadLetters)
        process.stdout.write(`dead letter ${archiveId}: unseal queue redrive --id ${jobId}\n`)
      for (const archiveId of found.discarded)
        process.stdout.write(`discarded ${archiveId}: left alone; "unseal submit" enqueues it again\n`)
      for (const archiveId of found.expired)
        process.stdout.write(`lost ${archiveId}: it has expired with the vendor\n`)
    }
    process.stderr.write(
      `project ${found.projectId}: ${counted(found.archives, "archive")}, ${found.encrypted} encrypted: ${found.done} done, ${found.live} in the queue, ${found.enqueued.length} ${dryRun ? "to enqueue" : "enqueued"}, ${counted(found.deadLetters.length, "dead letter")}, ${found.discarded.length} discarded, ${found.expired.length} expired\n`,
    )
  }
}
