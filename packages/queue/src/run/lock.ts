import { withDeadline } from "@unseal/archive/waiting"

/** This run no longer owns its job: another worker may be running it. Nothing may be committed any more. */
export class LockLostError extends Error {
  override readonly name = "LockLostError"
}

export interface LockOptions {
  readonly lockMs: number
  /** When Redis gave us the lock, on the clock of `performance.now`. */
  readonly acquiredAt: number
  /** Asks Redis for another `lockMs`. `false` if the lock is no longer ours. */
  extend(): Promise<boolean>
  /** `false` leaves the renewals to somebody else. Then the lock never counts as lost by time alone. */
  readonly renews?: boolean
  onRenewed(): void
  /** Called at most once. */
  onLost(reason: LockLostError): void
  /** Redis refused a renewal for another reason, and there is time to ask again. */
  onError(error: unknown): void
}

/** A lock that is renewed until it is released or lost. */
export interface JobLock {
  readonly lost: boolean
  /** Whether Redis itself said that the lock is gone, rather than being silent for too long. */
  readonly refused: boolean
  /** Resolves when the lock has just been extended. Throws `LockLostError` if that is impossible before it expires. */
  fence(): Promise<void>
  /** For callers that learn from Redis in another way that the lock is gone. */
  lose(reason: LockLostError): void
  /** Stops the renewals. A run that goes on after this can't pass the fence. */
  release(): void
}

/**
 * Renews a lock every third of its time. BullMQ's own renewal knows jobs, not runs: after an event loop was blocked for longer than
 * the lock, it would renew the lock of another run of the same job. Here every run renews its own. A run that could not renew in
 * time counts as lost without asking Redis, because another worker may have the job.
 */
export function holdLock(options: LockOptions): JobLock {
  const { lockMs } = options
  let validUntil = options.acquiredAt + lockMs
  let state: "held" | "lost" | "released" = "held"
  let refused = false
  let timer: NodeJS.Timeout | undefined

  function lose(reason: LockLostError): void {
    if (state !== "held") return
    state = "lost"
    clearTimeout(timer)
    options.onLost(reason)
  }

  async function extend(): Promise<void> {
    // Counted from before the request: Redis may answer late, but never sets the lock earlier than this.
    const asked = performance.now()
    const unconfirmed = () => new LockLostError(`the lock was not confirmed for ${lockMs} ms`)
    const leftMs = options.renews === false ? lockMs : validUntil - asked
    if (leftMs <= 0) throw unconfirmed()
    if (!(await withDeadline(options.extend(), leftMs, unconfirmed))) {
      refused = true
      throw new LockLostError("the lock is gone or another worker's")
    }
    validUntil = asked + lockMs
  }

  async function renew(): Promise<void> {
    try {
      await extend()
      if (state === "held") options.onRenewed()
    } catch (error) {
      if (error instanceof LockLostError) lose(error)
      else if (state === "held") options.onError(error)
    }
    schedule()
  }

  function schedule(): void {
    if (state !== "held" || options.renews === false) return
    timer = setTimeout(renew, Math.max(0, Math.min(lockMs / 3, validUntil - performance.now())))
  }
  schedule()

  return {
    get lost() {
      return state === "lost"
    },
    get refused() {
      return refused
    },
    async fence() {
      if (state === "held")
        try {
          await extend()
        } catch (error) {
          lose(
            error instanceof LockLostError
              ? error
              : new LockLostError("the lock could not be extended", { cause: error }),
          )
        }
      if (state !== "held") throw new LockLostError(`the run's lock is ${state}`)
    },
    lose,
    release() {
      if (state === "held") state = "released"
      clearTimeout(timer)
    },
  }
}
