import { counted } from "@unseal/archive/counted"
import { nearest } from "@unseal/archive/store/nearest"
import { readAccounts } from "@unseal/queue/accounting"
import { type DeadLetter, type DeadLetters, openDeadLetters, RedriveError } from "@unseal/queue/dead-letters"
import { FAILURES } from "@unseal/queue/ending"
import { readPause } from "@unseal/queue/pause"
import { queueExists, queueStatus } from "@unseal/queue/status"
import { listSuspensions } from "@unseal/queue/suspension-state"
import { nextForDamaged } from "../archives/next.ts"
import { EXIT, Unaccounted, UsageError } from "../terminal/exit.ts"
import { redriveCommitted } from "./again.ts"
import { withQueue } from "./connection.ts"
import { describePause, describeSuspension } from "./suspensions.ts"

interface JsonOption {
  readonly json?: true
}

/** `unseal queue status`: how many jobs are in each state, and whether everything that was accepted is accounted for. */
export async function queueStatusCommand(
  options: JsonOption & { readonly check?: true },
  signal: AbortSignal,
): Promise<void> {
  await withQueue(async ({ connection, settings }) => {
    const queue = settings.UNSEAL_QUEUE
    const [isThere, status, accounts, suspensions, paused] = await Promise.all([
      queueExists(connection, queue),
      queueStatus(connection, queue),
      readAccounts(connection, queue),
      listSuspensions(connection, queue),
      readPause(connection, queue),
    ])
    const { accepted, committed, deadLetters, live, discarded, missing } = accounts
    // No mistake in a new installation.
    if (!isThere)
      process.stderr.write(
        `there is no queue ${queue} in this Redis: either nothing was ever enqueued, or UNSEAL_QUEUE or REDIS_URL is that of another\n`,
      )
    if (options.json)
      process.stdout.write(`${JSON.stringify({ ...status, accounts, suspensions, paused })}\n`)
    else {
      const { failed, ...jobs } = status.jobs
      const rows = [...Object.entries(jobs), ["dead letters", failed] as const]
      for (const [state, count] of rows) process.stdout.write(`${state.padEnd(14)} ${count}\n`)
      process.stdout.write(`${"oldest waits".padEnd(14)} ${status.oldestWaitingSeconds.toFixed(0)} s\n`)
      const sum = `${committed} committed + ${counted(deadLetters, "dead letter")} + ${live} live`
      const rest = [[discarded, "discarded"] as const, [missing, "missing"] as const]
        .filter(([count]) => count !== 0)
        .map(([count, name]) => ` + ${count} ${name}`)
      process.stdout.write(`${"accepted".padEnd(14)} ${accepted} = ${sum}${rest.join("")}\n`)
      if (paused !== null)
        process.stdout.write(
          `${"paused".padEnd(14)} ${describePause(paused)}: nothing begins until "unseal queue resume"\n`,
        )
      for (const suspension of suspensions) process.stdout.write(describeSuspension(suspension))
    }
    if (options.check && missing !== 0)
      throw new Unaccounted(
        missing > 0
          ? `${counted(missing, "accepted archive is", "accepted archives are")} missing: a job was removed by hand, or Redis has lost it. "unseal archives reconcile" finds what is not at its destination`
          : `${counted(-missing, "job was", "jobs were")} never counted as accepted: somebody else than Unseal added them, or Redis has lost its counters`,
      )
  }, signal)
}

/** `UsageError` for a code that no failure has: a misspelt one would look like nothing to do. */
function requireCode(code: string | undefined): void {
  if (code === undefined || Object.hasOwn(FAILURES, code)) return
  const codes = Object.keys(FAILURES)
  const meant = nearest(code, codes)
  throw new UsageError(
    `no failure has the code ${code}: ${meant === undefined ? `there are ${codes.join(", ")}` : `did you mean ${meant}?`}`,
  )
}

export interface DeadLetterFilter {
  readonly code?: string
  readonly project?: string
  readonly id?: string
}

/** `unseal queue dead-letters`: the jobs that were given up, newest first, and what to do about them. */
export async function deadLettersCommand(
  options: DeadLetterFilter & JsonOption & { readonly limit: number },
  signal: AbortSignal,
): Promise<void> {
  requireCode(options.code)
  await withDeadLetters(async (deadLetters) => {
    const chosen = await choose(deadLetters, options, options.limit)
    if (options.json) return void process.stdout.write(`${JSON.stringify(chosen)}\n`)
    for (const letter of chosen) {
      process.stdout.write(
        `${letter.failedAt}  ${letter.jobId}  ${counted(letter.attempts, "attempt")}\n  ${letter.reason}\n`,
      )
      process.stdout.write(
        `  ${letter.damaged ? nextForDamaged(letter.jobId) : FAILURES[letter.code].remedy}\n`,
      )
    }
    process.stderr.write(`${counted(chosen.length, "dead letter")}\n`)
  }, signal)
}

/** `unseal queue redrive`: gives dead letters a new life with fresh counters. */
export async function redriveCommand(
  options: DeadLetterFilter &
    JsonOption & {
      readonly all?: true
      readonly dryRun?: true
      readonly committed?: readonly string[]
    },
  signal: AbortSignal,
): Promise<void> {
  if (options.committed !== undefined) {
    if (options.all || options.code || options.id)
      throw new UsageError(
        "--committed names archives that are not dead letters: leave out the other choices",
      )
    return redriveCommitted(options.committed, options, signal)
  }
  if (!options.all && !options.code && !options.project && !options.id)
    throw new UsageError(
      "say which dead letters: --code CODE, --project ID, --id JOB or ARCHIVE, or --all; --committed ID for what was committed",
    )
  requireCode(options.code)
  await withDeadLetters(async (deadLetters) => {
    const chosen = await choose(deadLetters, options, Number.POSITIVE_INFINITY)
    if (options.id !== undefined && chosen.length === 0)
      throw new UsageError(
        `no dead letter has the id of a job or an archive ${options.id}; nothing was redriven`,
      )
    const redriven: { from: string; to: string }[] = []
    const refused: { jobId: string; reason: string }[] = []
    for (const { jobId, archiveId, damaged } of chosen) {
      signal.throwIfAborted()
      let job: { jobId: string } | null
      try {
        job = options.dryRun && !damaged ? { jobId } : await deadLetters.redrive(jobId)
      } catch (error) {
        // The others need not wait for this one.
        if (!(error instanceof RedriveError)) throw error
        const next = damaged ? nextForDamaged(jobId) : `see "unseal archives show ${archiveId}"`
        process.stderr.write(`unseal: ${error.message}: ${next}\n`)
        refused.push({ jobId, reason: error.message })
        continue
      }
      if (job === null) continue
      redriven.push({ from: jobId, to: job.jobId })
      if (!options.json)
        process.stdout.write(options.dryRun ? `would redrive ${jobId}\n` : `${jobId} -> ${job.jobId}\n`)
    }
    if (options.json)
      process.stdout.write(`${JSON.stringify({ dryRun: Boolean(options.dryRun), redriven, refused })}\n`)
    process.stderr.write(
      `${counted(redriven.length, "dead letter")} ${options.dryRun ? "would be redriven" : "redriven"}\n`,
    )
    if (refused.length > 0) process.exitCode = EXIT.failed
  }, signal)
}

/** `unseal queue discard`: removes dead letters for good, all that are named or none. */
export async function discardCommand(
  ids: readonly string[],
  options: JsonOption & { readonly reason: string },
  signal: AbortSignal,
): Promise<void> {
  const reason = options.reason.trim()
  if (reason === "") throw new UsageError("--reason is empty; say why nobody will need these archives")
  await withDeadLetters(async (deadLetters) => {
    const named = (letter: DeadLetter) => ids.filter((id) => id === letter.jobId || id === letter.archiveId)
    const all = await choose(deadLetters, {}, Number.POSITIVE_INFINITY)
    const found = new Set(all.flatMap(named))
    const unknown = ids.filter((id) => !found.has(id))
    if (unknown.length > 0)
      throw new UsageError(
        `no dead letter belongs to the job or archive ${unknown.join(", ")}; nothing was discarded`,
      )
    const discarded: DeadLetter[] = []
    for (const letter of all.filter((letter) => named(letter).length > 0)) {
      if (!(await deadLetters.discard(letter.jobId))) continue
      discarded.push(letter)
      const { jobId, projectId, archiveId } = letter
      if (!options.json)
        process.stdout.write(
          `discarded ${jobId}: project ${projectId}, archive ${archiveId}\n  ${letter.reason}\n  discarded because: ${reason}\n`,
        )
    }
    if (options.json) process.stdout.write(`${JSON.stringify({ reason, discarded })}\n`)
    process.stderr.write(`${counted(discarded.length, "dead letter")} discarded\n`)
  }, signal)
}

function withDeadLetters(
  work: (deadLetters: DeadLetters) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  return withQueue(async ({ connection, settings }) => {
    const deadLetters = openDeadLetters({ connection, queue: settings.UNSEAL_QUEUE })
    try {
      await work(deadLetters)
    } finally {
      await deadLetters.close()
    }
  }, signal)
}

const PAGE = 500

/** Reads on, page by page, until `limit` dead letters match. */
async function choose(
  deadLetters: DeadLetters,
  filter: DeadLetterFilter,
  limit: number,
): Promise<DeadLetter[]> {
  const chosen: DeadLetter[] = []
  for (let offset = 0; chosen.length < limit; offset += PAGE) {
    const page = await deadLetters.list({ offset, limit: PAGE })
    chosen.push(...page.filter((letter) => matches(letter, filter)))
    if (page.length < PAGE) break
  }
  return chosen.slice(0, limit)
}

function matches(letter: DeadLetter, { code, project, id }: DeadLetterFilter): boolean {
  return (
    (code === undefined || letter.code === code) &&
    (project === undefined || letter.projectId === project) &&
    (id === undefined || letter.jobId === id || letter.archiveId === id)
  )
}
