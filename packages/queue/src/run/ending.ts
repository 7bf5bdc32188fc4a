import {
  ERROR_CODES,
  type ErrorKind,
  type ErrorOwner,
  isUnsealError,
  type Side,
} from "@unseal/archive/errors"
import { RunStuckError } from "../watch/watchdog.ts"
import { archivedWaitDelayMs, objectWaitDelayMs } from "./backoff.ts"

/**
 * Every code that a run may fail with: those of the table, and three that only the queue knows. These are about workers and bugs, so
 * the deployment owns them; they suspend no project.
 */
export const FAILURES = {
  ...ERROR_CODES,
  ERR_STALLED: {
    kind: "permanent",
    owner: "deployment",
    meaning: "workers died or froze again and again while they had this job",
    remedy: "find in their logs what kills or blocks them (a memory limit, restarts, a loop), then redrive",
  },
  ERR_RUN_STUCK: {
    kind: "transient",
    owner: "deployment",
    meaning: "a run was aborted because nothing moved for minutes",
    remedy: "check what the message names: a store, a disk or a key directory",
  },
  ERR_UNEXPECTED: {
    kind: "transient",
    owner: "deployment",
    meaning: "an error that Unseal has no code for",
    remedy: "report it, with its stack from the worker's log",
  },
} as const satisfies Record<string, { kind: ErrorKind; owner: ErrorOwner; meaning: string; remedy: string }>

export type FailureCode = keyof typeof FAILURES

/** The codes that suspend a project: trouble of the deployment. */
export const SUSPENDING_CODES = (Object.keys(ERROR_CODES) as (keyof typeof ERROR_CODES)[]).filter(
  (code) => ERROR_CODES[code].owner === "deployment",
)

/** The codes after which a job is tried again: transient failures, and held jobs. */
export const RETRIED_JOB_CODES = (Object.keys(FAILURES) as FailureCode[]).filter(
  (code) => FAILURES[code].kind === "transient" || SUSPENDING_CODES.some((one) => one === code),
)

/** Failures that may pass with time alone. The job waits without using an attempt. */
export const WAITING_CODES = ["ERR_OBJECT_NOT_FOUND", "ERR_OBJECT_INCOMPLETE", "ERR_OBJECT_ARCHIVED"] as const
export type WaitingCode = (typeof WAITING_CODES)[number]

/** What a run returns when its job is done: a few small values, kept with the job for an hour. */
export type RunResult = Readonly<Record<string, string | number | boolean | null>>

/** How a run ended, and what happens to its job. */
export type Ending<Result extends RunResult = RunResult> =
  | { readonly kind: "committed"; readonly result: Result }
  /** A dead letter: it stays until it is redriven. */
  | { readonly kind: "dead-letter"; readonly code: FailureCode; readonly reason: string }
  /** Another attempt, after a backoff. */
  | { readonly kind: "retry"; readonly code: FailureCode; readonly reason: string }
  /** The object is missing, incomplete, or archived. It is looked for again after `delayMs`, without using an attempt. */
  | {
      readonly kind: "waiting"
      readonly code: WaitingCode
      readonly reason: string
      /** Time since the first miss. */
      readonly waitedMs: number
      readonly delayMs: number
    }
  /** Trouble of the deployment: the job is held, without using an attempt, until this side of the project works again. */
  | { readonly kind: "suspended"; readonly code: FailureCode; readonly side: Side; readonly reason: string }
  /** Not begun, or not continued, because its project is suspended. */
  | { readonly kind: "held" }
  /** Shutdown is not a failure: the job goes back to the head of the line, without using an attempt or counting a stall. */
  | { readonly kind: "handed-back" }
  /** Another worker has the job. */
  | { readonly kind: "lock-lost" }

/** A bulk archive is years old, so nobody is uploading its object now. This time is for a store that shows objects late. */
export const BULK_OBJECT_WAIT_MS = 15 * 60_000
/** A bulk restore from S3's deepest class takes 48 h. */
export const ARCHIVED_WAIT_MS = 72 * 3_600_000

export interface FailedRun {
  readonly error: unknown
  readonly lockLost: boolean
  readonly shuttingDown: boolean
  /** Failed attempts before this run. */
  readonly attemptsMade: number
  readonly attempts: number
  /** Time since the object was first missed. */
  readonly waitedMs: number
  /** How long a job may wait for its object in all. */
  readonly objectWaitMs: number
  /** Whether what looks like trouble of the deployment is the archive's own, because others succeed meanwhile. */
  readonly isOwn?: boolean
}

/** Turns a failure into an ending. Nothing else does. */
export function endingOf(run: FailedRun): Ending<never> {
  const { error } = run
  if (run.lockLost) return { kind: "lock-lost" }
  const reason = reasonOf(error)
  const code = isUnsealError(error) ? error.code : codeOf(reason)

  const isDeployments = isUnsealError(error) && error.owner === "deployment" && !run.isOwn
  if (isUnsealError(error) && error.kind === "permanent" && !isDeployments)
    return { kind: "dead-letter", code, reason }
  // Anything else that an aborted run throws is due to the abort.
  if (run.shuttingDown) return { kind: "handed-back" }
  if (isDeployments) return { kind: "suspended", code, side: error.side ?? "source", reason }
  if (isOneOf(code, WAITING_CODES)) {
    const { waitedMs } = run
    const [limitMs, delayMs] =
      code === "ERR_OBJECT_ARCHIVED"
        ? [ARCHIVED_WAIT_MS, archivedWaitDelayMs(waitedMs)]
        : [run.objectWaitMs, objectWaitDelayMs(waitedMs)]
    if (waitedMs >= limitMs) return { kind: "dead-letter", code, reason }
    return { kind: "waiting", code, reason, waitedMs, delayMs }
  }
  if (run.attemptsMade + 1 < run.attempts) return { kind: "retry", code, reason }
  return { kind: "dead-letter", code, reason }
}

const isOneOf = <Code extends string>(code: string, codes: readonly Code[]): code is Code =>
  codes.includes(code as Code)

/** The reason in a dead letter or a failed attempt: `CODE: message`. Only our own messages are known to hold no secret. */
export function reasonOf(error: unknown): string {
  if (isUnsealError(error)) return `${error.code}: ${error.message}`.slice(0, 500)
  if (error instanceof RunStuckError) return `ERR_RUN_STUCK: ${error.message}`.slice(0, 500)
  return `ERR_UNEXPECTED: ${error instanceof Error ? error.name : typeof error}; the worker's log has the rest`
}

/** The code in a reason that `reasonOf` made, here or in another version of Unseal. */
export function codeOf(reason: string | undefined): FailureCode {
  const code = reason?.match(/^(ERR_[A-Z_]+): /)?.[1] ?? ""
  if (Object.hasOwn(FAILURES, code)) return code as FailureCode
  // BullMQ's own words.
  return reason?.startsWith("job stalled") ? "ERR_STALLED" : "ERR_UNEXPECTED"
}
