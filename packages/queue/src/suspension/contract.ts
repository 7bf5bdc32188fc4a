/** What a run asks of suspensions, and their answers. */
import type { Side, UnsealError } from "@unseal/archive/errors"
import type { JobPayload } from "../jobs/job.ts"
import type { FailureCode } from "../run/ending.ts"

/** A job that this worker has taken. */
export interface TakenJob {
  readonly jobId: string
  readonly token: string
  readonly payload: JobPayload
  /** It has no turn, and goes ahead of all jobs that have one: it is a probe, or was handed back. */
  readonly isFirst: boolean
}

/** `probeOf` is the suspension that the run probes. */
export type Admission =
  | { readonly kind: "run"; readonly probeOf?: string }
  | { readonly kind: "held" }
  /** This worker stands aside from the project: the job is for another. */
  | { readonly kind: "aside" }
  | { readonly kind: "expired"; readonly code: FailureCode; readonly reason: string }

export type Verdict =
  /** The job is set aside. */
  | { readonly kind: "held" }
  /** The job goes back in line: a suspension has ended since it failed, or only this worker fails. */
  | { readonly kind: "back" }
  /** Others succeed where this archive fails again and again, so the trouble is not the deployment's. */
  | { readonly kind: "own" }
  | { readonly kind: "expired"; readonly reason: string }
  | { readonly kind: "lost" }

export interface Suspensions {
  /** Whether a job may run. Asks Redis only if its project is known to be suspended. */
  admit(job: TakenJob): Promise<Admission>
  /** A run that began `runMs` ago failed because of trouble of the deployment on `side`. */
  hit(job: TakenJob, side: Side, error: UnsealError, runMs: number): Promise<Verdict>
  /** `side` has done what was asked of it at `since`, on the clock of `Date.now`. That ends a suspension, unless it is younger. */
  works(payload: JobPayload, side: Side, since: number): void
  /**
   * Whether `side` of a running job's project is suspended, as far as this worker knows. `false` if the run is that suspension's
   * probe.
   */
  hinders(payload: JobPayload, side: Side, probeOf?: string): boolean
  /** A run ended. `worked` says since when each side has worked. */
  ended(job: TakenJob, worked: ReadonlyMap<Side, number>, probeOf: string | undefined): Promise<void>
  close(): void
}
