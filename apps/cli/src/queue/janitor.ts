/** `unseal janitor`: prints what packages/operations finds and does about orphaned uploads. */
import { counted } from "@unseal/archive/counted"
import type { UnsealError } from "@unseal/archive/errors"
import { openStore } from "@unseal/archive/store/open"
import { type Sweep, sweepUploads } from "@unseal/operations/janitor"
import { env, readDestinationSettings } from "../config.ts"
import { readDuration } from "../terminal/duration.ts"
import { throwWorst } from "../terminal/exit.ts"
import { sayNotices } from "../terminal/store-notices.ts"
import { withQueue } from "./connection.ts"

export interface JanitorCommandOptions {
  readonly olderThan: string
  readonly dryRun?: true
  readonly json?: true
}

export async function janitorCommand(options: JanitorCommandOptions, signal: AbortSignal): Promise<void> {
  const olderThanMs = readDuration("--older-than", options.olderThan)
  const dryRun = options.dryRun === true
  const { projects: all } = readDestinationSettings()
  const projects = all.ids.map((id) => all.get(id)!)
  const sweeps: Sweep[] = []
  const failures: UnsealError[] = []
  await withQueue(async (access) => {
    const dependencies = {
      ...access,
      openStore: (url: string) => openStore(url, { env, onNotice: sayNotices(url) }),
    }
    for await (const event of sweepUploads(dependencies, { projects, olderThanMs, dryRun }, signal)) {
      if (event.kind === "orphan") {
        const { key, startedAt } = event.orphan
        if (!options.json)
          process.stdout.write(
            `${dryRun ? "would abort" : "aborted"} ${event.store}/${key}, begun ${startedAt}\n`,
          )
        continue
      }
      if (event.kind === "failed") failures.push(event.error)
      // If nothing could be looked at, zeros would be wrong.
      if (event.kind === "swept" || event.sweep.open > 0) sweeps.push(event.sweep)
    }
  }, signal)
  if (options.json) {
    const stores = sweeps.map(({ orphans, ...sweep }) => ({ ...sweep, aborted: orphans }))
    process.stdout.write(`${JSON.stringify({ dryRun, stores })}\n`)
  }
  for (const { store, open, foreign, young, owned, orphans } of sweeps)
    process.stderr.write(
      `${store}: ${counted(open, "open upload")}, ${orphans.length} ${dryRun ? "to abort" : "aborted"}, ${owned} of live jobs, ${young} young, ${foreign} not Unseal's\n`,
    )
  throwWorst(failures)
}
