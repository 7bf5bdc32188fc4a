/** Selects dead letters to be looked at, redriven or discarded. */
import { nearest } from "@unseal/archive/did-you-mean"
import { type DeadLetter, type DeadLetterFilter, listDeadLetters } from "@unseal/queue/dead-letters/list"
import { FAILURES, type FailureCode } from "@unseal/queue/run/ending"
import { OperationError, requireDuration } from "./operation-error.ts"
import type { QueueAccess } from "./queue-access.ts"

/** Selects the dead letters that match everything given. */
export interface DeadLetterChoice {
  /** A code of `FAILURES`. */
  readonly code?: string | undefined
  readonly projectId?: string | undefined
  /** Ids of jobs or archives. */
  readonly ids?: readonly string[] | undefined
  /** Only those that were given up at least this long ago, in milliseconds. */
  readonly olderThanMs?: number | undefined
}

/**
 * The filter for `choice`, as of now. Throws `ERR_OPTION_INVALID` for an unknown code: a misspelt one would look like nothing to
 * do.
 */
export function filterOf({ code, projectId, ids, olderThanMs }: DeadLetterChoice): DeadLetterFilter {
  if (olderThanMs !== undefined) requireDuration("the age", olderThanMs)
  return {
    ...(code !== undefined && { code: knownCode(code) }),
    ...(projectId !== undefined && { projectId }),
    ...(ids !== undefined && { ids }),
    ...(olderThanMs !== undefined && { failedBefore: new Date(Date.now() - olderThanMs) }),
  }
}

function knownCode(code: string): FailureCode {
  if (Object.hasOwn(FAILURES, code)) return code as FailureCode
  const codes = Object.keys(FAILURES)
  const meant = nearest(code, codes)
  throw new OperationError(
    "ERR_OPTION_INVALID",
    `no failure has the code ${code}: ${meant === undefined ? `the codes are ${codes.join(", ")}` : `did you mean ${meant}?`}`,
  )
}

/** The maximum that `DeadLetters.list` returns at once. */
const LARGEST_PAGE = 1_000

/**
 * All matching dead letters, the newest first, at most `limit`. Jobs given up meanwhile are newer than all of them, and left
 * out.
 */
export async function* eachDeadLetter(
  { connection, queue }: QueueAccess,
  filter: DeadLetterFilter,
  signal: AbortSignal,
  limit = Number.POSITIVE_INFINITY,
): AsyncGenerator<DeadLetter> {
  let after: DeadLetter | undefined
  for (let left = limit; left > 0; ) {
    signal.throwIfAborted()
    const size = Math.min(LARGEST_PAGE, left)
    const page = await listDeadLetters(connection, queue, {
      ...filter,
      ...{ limit: size, ...(after && { after }) },
    })
    yield* page
    if (page.length < size) return
    left -= page.length
    after = page.at(-1)
  }
}

/**
 * The newest `limit` dead letters that `choice` selects. Throws `ERR_OPTION_INVALID`; an abort of `signal` rejects with its
 * reason.
 */
export function findDeadLetters(
  access: QueueAccess,
  choice: DeadLetterChoice,
  limit: number,
  signal: AbortSignal,
): Promise<DeadLetter[]> {
  return Array.fromAsync(eachDeadLetter(access, filterOf(choice), signal, limit))
}
