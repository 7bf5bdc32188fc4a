/** Gives dead letters a new life, with fresh counters. */

import { openDeadLetters, payloadLost, RedriveError } from "@unseal/queue/dead-letters/dead-letters"
import type { DeadLetter } from "@unseal/queue/dead-letters/list"
import type { Lane } from "@unseal/queue/jobs/lane"
import { type DeadLetterChoice, eachDeadLetter, filterOf } from "./dead-letters.ts"
import { OperationError } from "./operation-error.ts"
import type { QueueAccess } from "./queue-access.ts"

/**
 * Selects the dead letters to redrive: all, or those that match. An empty choice is refused, because it would mean all by
 * mistake.
 */
export type RedriveChoice = { readonly all: true } | DeadLetterChoice

/** The outcome for one dead letter. */
export type RedriveOutcome =
  /** Its job is in line as `jobId`. In a dry run it could be, and `jobId` is its own. */
  | { readonly kind: "redriven"; readonly letter: DeadLetter; readonly jobId: string }
  /** It stays until somebody fixes what the reason names. */
  | { readonly kind: "refused"; readonly letter: DeadLetter; readonly reason: string }
  /** Somebody else has redriven or discarded it meanwhile. */
  | { readonly kind: "gone"; readonly letter: DeadLetter }

/**
 * Redrives the dead letters that `choice` selects, the newest first. Nothing happens before the first outcome is requested, or
 * after the loop is left. One that fails again meanwhile is not redriven again. Throws `ERR_OPTION_INVALID` at once, and
 * `ERR_DEAD_LETTER_UNKNOWN` if no given id matches. An abort of `signal` ends it with its reason.
 */
export function redrive(
  access: QueueAccess,
  choice: RedriveChoice,
  options: {
    readonly dryRun: boolean
    /** Default: the lane that each had. */
    readonly lane?: Lane | undefined
  },
  signal: AbortSignal,
): AsyncGenerator<RedriveOutcome> {
  const filter = "all" in choice ? {} : filterOf(choice)
  if (!("all" in choice) && Object.keys(filter).length === 0)
    throw new OperationError("ERR_OPTION_INVALID", "nothing says which dead letters are meant")
  return redriveEach()

  async function* redriveEach(): AsyncGenerator<RedriveOutcome> {
    const deadLetters = openDeadLetters(access)
    let found = 0
    try {
      for await (const letter of eachDeadLetter(access, filter, signal)) {
        found++
        yield await one(letter)
        signal.throwIfAborted()
      }
    } finally {
      await deadLetters.close()
    }
    if (filter.ids !== undefined && found === 0)
      throw new OperationError(
        "ERR_DEAD_LETTER_UNKNOWN",
        `no dead letter has the id of a job or an archive ${filter.ids.join(", ")}; nothing was redriven`,
      )

    async function one(letter: DeadLetter): Promise<RedriveOutcome> {
      const { jobId } = letter
      if (options.dryRun)
        return letter.damaged
          ? { kind: "refused", letter, reason: payloadLost(jobId).message }
          : { kind: "redriven", letter, jobId }
      try {
        const job = await deadLetters.redrive(jobId, options.lane)
        return job === null ? { kind: "gone", letter } : { kind: "redriven", letter, jobId: job.jobId }
      } catch (error) {
        // The others need not wait for this one.
        if (error instanceof RedriveError) return { kind: "refused", letter, reason: error.message }
        throw error
      }
    }
  }
}
