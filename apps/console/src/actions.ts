/** What operators do from the page. Each action is a line in the log when it begins and when it ends, with who and how many. */
import { randomUUID } from "node:crypto"
import { type DeadLetterChoice, findDeadLetters } from "@unseal/operations/dead-letters"
import { OperationError } from "@unseal/operations/operation-error"
import type { QueueAccess } from "@unseal/operations/queue-access"
import { redrive } from "@unseal/operations/redrive"
import { type ResumeChoice, resume } from "@unseal/operations/resume"
import type { DeadLetter } from "@unseal/queue/dead-letters/list"
import type { Logger } from "@unseal/service/log/logger"
import type { Action } from "./action.ts"
import type { ConsoleMetrics } from "./metrics.ts"

export interface Actions {
  /** The newest first, those of this process. */
  list(): readonly Action[]
  get(id: string): Action | undefined
  /** The matching dead letters as of now, up to a limit, and the first of them. */
  count(choice: DeadLetterChoice): Promise<{ count: number; isMore: boolean; some: readonly DeadLetter[] }>
  /** Begins to redrive. `null` while another redrive runs. Throws `OperationError` for an impossible choice. */
  redrive(who: string, what: string, choice: DeadLetterChoice, total: number): Action | null
  resume(who: string, what: string, choice: ResumeChoice): Promise<Action>
  /** Stops what runs, and resolves when it has stopped. */
  close(): Promise<void>
}

/** Counting reads all of each dead letter, so it needs a limit. */
const MOST_COUNTED = 5_000
const SHOWN = 5
const KEPT = 100
const REFUSED_KEPT = 50

type Mutable = { -readonly [Field in keyof Action]: Action[Field] } & {
  refused: { jobId: string; reason: string }[]
}

export function createActions(options: {
  readonly access: QueueAccess
  readonly logger: Logger
  readonly metrics: ConsoleMetrics
}): Actions {
  const { access, logger, metrics } = options
  const actions: Mutable[] = []
  const closing = new AbortController()
  let redriving: Promise<void> | undefined

  function begin(kind: Action["kind"], who: string, what: string, total: number, fields: object): Mutable {
    const action: Mutable = {
      ...{ id: randomUUID(), kind, who, what, startedAt: new Date().toISOString(), endedAt: null },
      ...{ state: "running", total, done: 0, refusedCount: 0, refused: [], error: null },
    }
    actions.unshift(action)
    actions.splice(KEPT)
    logger.info(
      { action: kind, actionId: action.id, user: who, ...fields, count: total },
      "operator's action begins",
    )
    return action
  }

  function end(action: Mutable, state: Action["state"], error: unknown = null): void {
    const { kind, who, done, refusedCount, id } = action
    action.state = state
    action.endedAt = new Date().toISOString()
    if (state === "failed") action.error = error instanceof Error ? error.message : String(error)
    metrics.action(kind, state)
    logger[state === "done" ? "info" : "warn"](
      {
        action: kind,
        actionId: id,
        user: who,
        done,
        refused: refusedCount,
        ...(error !== null && { err: error }),
      },
      `operator's action ${state === "done" ? "is done" : state === "stopped" ? "was stopped" : "failed"}`,
    )
  }

  async function redriveAll(action: Mutable, outcomes: ReturnType<typeof redrive>): Promise<void> {
    try {
      for await (const outcome of outcomes) {
        if (outcome.kind === "redriven") action.done++
        if (outcome.kind !== "refused") continue
        action.refusedCount++
        if (action.refused.length < REFUSED_KEPT)
          action.refused.push({ jobId: outcome.letter.jobId, reason: outcome.reason })
      }
      end(action, "done")
    } catch (error) {
      if (closing.signal.aborted) end(action, "stopped")
      // Somebody else was faster.
      else if (error instanceof OperationError && error.code === "ERR_DEAD_LETTER_UNKNOWN")
        end(action, "done")
      else end(action, "failed", error)
    }
  }

  return {
    list: () => actions,
    get: (id) => actions.find((action) => action.id === id),
    async count(choice) {
      const letters = await findDeadLetters(access, choice, MOST_COUNTED + 1, closing.signal)
      const isMore = letters.length > MOST_COUNTED
      return { count: isMore ? MOST_COUNTED : letters.length, isMore, some: letters.slice(0, SHOWN) }
    },
    redrive(who, what, choice, total) {
      if (redriving !== undefined) return null
      closing.signal.throwIfAborted()
      const outcomes = redrive(access, choice, { dryRun: false }, closing.signal)
      const { code, projectId, ids } = choice
      const action = begin("redrive", who, what, total, { code, projectId, jobIds: ids })
      redriving = redriveAll(action, outcomes).finally(() => {
        redriving = undefined
      })
      return action
    },
    async resume(who, what, choice) {
      closing.signal.throwIfAborted()
      const action = begin("resume", who, what, 0, { ...choice })
      try {
        const { suspensions, endedPause } = await resume(access, choice, closing.signal)
        action.done = suspensions.length + (endedPause === null ? 0 : 1)
        end(action, "done")
      } catch (error) {
        end(action, "failed", error)
      }
      return action
    },
    async close() {
      closing.abort(new Error("the console is shutting down"))
      await redriving
    },
  }
}
