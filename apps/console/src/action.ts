/** Something that an operator has begun, or done, from the page. */
export interface Action {
  readonly id: string
  readonly kind: "redrive" | "resume"
  readonly who: string
  /** One line. */
  readonly what: string
  /** ISO 8601. */
  readonly startedAt: string
  readonly endedAt: string | null
  readonly state: "running" | "done" | "failed" | "stopped"
  /** How many were counted before; 0 if none were. */
  readonly total: number
  readonly done: number
  readonly refusedCount: number
  /** The first of them. */
  readonly refused: readonly { readonly jobId: string; readonly reason: string }[]
  readonly error: string | null
}
