/** `unseal queue redrive`: runs dead letters, or committed archives, once more. */
import { counted } from "@unseal/archive/counted"
import { type RedriveOutcome, redrive } from "@unseal/operations/redrive"
import { redriveCommitted } from "@unseal/operations/redrive-committed"
import type { Lane } from "@unseal/queue/jobs/lane"
import { nextForDamaged } from "../archives/next.ts"
import { EXIT, UsageError } from "../terminal/exit.ts"
import { openVendor } from "../vendor.ts"
import { sayIfAbsent } from "./absent.ts"
import { withQueue } from "./connection.ts"
import { choiceOf, type DeadLetterOptions } from "./dead-letters.ts"
import { describeDuplicate } from "./duplicate.ts"

interface RedriveOptions extends DeadLetterOptions {
  readonly all?: true
  readonly dryRun?: true
  readonly lane?: Lane
  readonly committed?: readonly string[]
}

export async function redriveCommand(options: RedriveOptions, signal: AbortSignal): Promise<void> {
  const { all, code, project, id, olderThan, committed } = options
  if (committed !== undefined) {
    if (all || code || id || olderThan)
      throw new UsageError(
        "--committed names archives that are not dead letters: leave out the other choices",
      )
    return redriveCommittedCommand(committed, options, signal)
  }
  if (!all && !code && !project && !id && !olderThan)
    throw new UsageError(
      "say which dead letters: --code CODE, --project ID, --id JOB or ARCHIVE, --older-than TIME, or --all; for archives that were committed, give --committed ID",
    )
  const choice = choiceOf(options)
  const isEmpty = Object.values(choice).every((value) => value === undefined)
  const dryRun = options.dryRun === true
  const how = { dryRun, lane: options.lane }
  await withQueue(
    async (access) => {
      await sayIfAbsent(access)
      const redriven: { from: string; to: string }[] = []
      const refused: { jobId: string; reason: string }[] = []
      for await (const outcome of redrive(access, isEmpty ? { all: true } : choice, how, signal)) {
        const { jobId } = outcome.letter
        if (outcome.kind === "redriven") {
          redriven.push({ from: jobId, to: outcome.jobId })
          if (!options.json)
            process.stdout.write(dryRun ? `would redrive ${jobId}\n` : `${jobId} -> ${outcome.jobId}\n`)
        } else if (outcome.kind === "refused") {
          process.stderr.write(`unseal: ${outcome.reason}: ${moveAfter(outcome)}\n`)
          refused.push({ jobId, reason: outcome.reason })
        }
      }
      if (options.json) process.stdout.write(`${JSON.stringify({ dryRun, redriven, refused })}\n`)
      process.stderr.write(
        `${counted(redriven.length, "dead letter")} ${dryRun ? "would be redriven" : "redriven"}\n`,
      )
      if (refused.length > 0) process.exitCode = EXIT.failed
    },
    signal,
    { enqueues: true },
  )
}

const moveAfter = ({ letter: { damaged, jobId, archiveId } }: RedriveOutcome): string =>
  damaged ? nextForDamaged(jobId) : `see "unseal archives show ${archiveId}"`

/** `unseal queue redrive --committed ID…`: enqueues committed archives as new jobs. */
async function redriveCommittedCommand(
  ids: readonly string[],
  options: RedriveOptions,
  signal: AbortSignal,
): Promise<void> {
  const dryRun = options.dryRun === true
  const redriven: { archiveId: string; jobId: string }[] = []
  await withQueue(
    async (access) => {
      const vendorOf = (project: string | undefined) =>
        openVendor(project === undefined ? {} : { project }).client
      const chosen = { ids, projectId: options.project, dryRun, lane: options.lane }
      for await (const outcome of redriveCommitted({ ...access, vendorOf }, chosen, signal)) {
        const { id, archiveId } = outcome
        if (outcome.kind === "duplicate") {
          const { of } = outcome
          process.stderr.write(`${id}: ${of ? describeDuplicate(of) : "in the queue already"}\n`)
          continue
        }
        redriven.push({ archiveId, jobId: outcome.jobId })
        if (!options.json)
          process.stdout.write(`${dryRun ? "would redrive" : "redriven"} ${archiveId} as ${outcome.jobId}\n`)
      }
    },
    signal,
    { enqueues: true },
  )
  if (options.json) process.stdout.write(`${JSON.stringify({ dryRun, redriven })}\n`)
  process.stderr.write(
    `${counted(redriven.length, "committed archive")} ${dryRun ? "would be redriven" : "redriven"}\n`,
  )
}
