import { ERROR_CODES, type ErrorCode, isUnsealError, type UnsealError } from "@unseal/archive/errors"
import { StoreUrlError } from "@unseal/archive/store/url"
import { BackfillError } from "@unseal/operations/backfill/backfill-error"
import { OperationError } from "@unseal/operations/operation-error"
import { SubmissionError } from "@unseal/operations/submission/submission-error"
import { ConfigurationError } from "@unseal/service/settings/settings"
import { remedyAtTerminal } from "./remedies.ts"

/** What the exit code means to a script: 1 and 2 need a person, 3 may be tried again. */
export const EXIT = { done: 0, failed: 1, usage: 2, retry: 3 } as const

/** A command was called in an invalid way: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError"
}

/** Interrupted by a signal. Nothing is wrong with the archive. */
export class Interrupted extends Error {
  override readonly name = "Interrupted"
}

/** The queue's accounts don't balance: exit code 1. */
export class Unaccounted extends Error {
  override readonly name = "Unaccounted"
}

/**
 * Throws the failure that decides the exit code: a permanent one, if there is any. Prints the others. Does nothing without
 * failures.
 */
export function throwWorst(failures: readonly UnsealError[]): void {
  const worst = failures.find(({ kind }) => kind === "permanent") ?? failures[0]
  if (worst === undefined) return
  for (const failure of failures)
    if (failure !== worst) process.stderr.write(`unseal: ${failure.code}: ${failure.message}\n`)
  throw worst
}

/** The exit code of a command that failed with `code`. */
export function exitCodeOf(code: ErrorCode): number {
  // An unusable key file or directory is a wrong argument or setting, not a wrong archive. No key service is asked here.
  if (code === "ERR_KEY_INVALID" || code === "ERR_KEY_SERVICE_UNAVAILABLE") return EXIT.usage
  // Only somebody who waits for an upload has a reason to try again.
  if (code === "ERR_OBJECT_INCOMPLETE") return EXIT.failed
  return ERROR_CODES[code].kind === "transient" ? EXIT.retry : EXIT.failed
}

/** Says on stderr what went wrong and what to do. Returns the exit code. */
export function explain(error: unknown): number {
  const say = (line: string) => process.stderr.write(`unseal: ${line}\n`)
  if (error instanceof ConfigurationError) {
    // Two readers of one setting may report the same problem.
    for (const problem of new Set(error.problems)) say(problem)
    return EXIT.usage
  }
  if (
    error instanceof UsageError ||
    error instanceof OperationError ||
    error instanceof StoreUrlError ||
    error instanceof SubmissionError
  ) {
    say(error.message)
    return EXIT.usage
  }
  if (isUnsealError(error)) {
    say(`${error.code}: ${error.message}`)
    say(remedyAtTerminal(error))
    return exitCodeOf(error.code)
  }
  if (error instanceof BackfillError) {
    say(`${error.code}: ${error.message}`)
    return error.code === "ERR_BACKFILL_CHANGED" ? EXIT.failed : EXIT.usage
  }
  if (error instanceof Unaccounted) {
    say(error.message)
    return EXIT.failed
  }
  if (error instanceof Interrupted || isQueueUnavailable(error)) {
    say(error.message)
    return EXIT.retry
  }
  say(error instanceof Error ? (error.stack ?? error.message) : String(error))
  return EXIT.failed
}

// By its name, because its class comes with BullMQ, which takes longer to load than a small archive takes to decrypt.
const isQueueUnavailable = (error: unknown): error is Error =>
  error instanceof Error && error.name === "QueueUnavailableError"
