/** `unseal queue dead-letters`, `discard`: lists jobs that were given up, and removes them for good. */
import { counted } from "@unseal/archive/counted"
import { type DeadLetterChoice, findDeadLetters } from "@unseal/operations/dead-letters"
import { discard } from "@unseal/operations/discard"
import type { DeadLetter } from "@unseal/queue/dead-letters/list"
import { FAILURES } from "@unseal/queue/run/ending"
import { nextForDamaged } from "../archives/next.ts"
import { readDuration } from "../terminal/duration.ts"
import { UsageError } from "../terminal/exit.ts"
import { sayIfAbsent } from "./absent.ts"
import { withQueue } from "./connection.ts"

export interface DeadLetterOptions {
  readonly code?: string
  readonly project?: string
  readonly id?: string
  readonly olderThan?: string
  readonly json?: true
}

/** The dead letters that the options select; all by default. */
export function choiceOf({ code, project, id, olderThan }: DeadLetterOptions): DeadLetterChoice {
  return {
    ...{ code, projectId: project, ids: id === undefined ? undefined : [id] },
    ...(olderThan !== undefined && { olderThanMs: readDuration("--older-than", olderThan) }),
  }
}

/** `unseal queue dead-letters`: lists the jobs that were given up, newest first, with what to do about them. */
export async function deadLettersCommand(
  options: DeadLetterOptions & { readonly limit: number },
  signal: AbortSignal,
): Promise<void> {
  const choice = choiceOf(options)
  await withQueue(async (access) => {
    const chosen = await findDeadLetters(access, choice, options.limit, signal)
    if (chosen.length === 0) await sayIfAbsent(access)
    if (options.json) return void process.stdout.write(`${JSON.stringify(chosen)}\n`)
    for (const letter of chosen) {
      process.stdout.write(
        `${letter.failedAt}  ${letter.jobId}  ${counted(letter.attempts, "attempt")}${letter.lane === "bulk" ? "  bulk" : ""}\n  ${letter.reason}\n`,
      )
      process.stdout.write(
        `  ${letter.damaged ? nextForDamaged(letter.jobId) : FAILURES[letter.code].remedy}\n`,
      )
    }
    process.stderr.write(`${counted(chosen.length, "dead letter")}\n`)
  }, signal)
}

/** `unseal queue discard`: removes dead letters for good, either all named ones or none. */
export async function discardCommand(
  ids: readonly string[],
  options: { readonly json?: true; readonly reason: string },
  signal: AbortSignal,
): Promise<void> {
  const reason = options.reason.trim()
  if (reason === "") throw new UsageError("--reason is empty; say why nobody will need these archives")
  await withQueue(async (access) => {
    const discarded: DeadLetter[] = []
    for await (const letter of discard(access, ids, signal)) {
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
