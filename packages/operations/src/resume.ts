/** Ends by hand what holds a queue back: a pause, and suspensions. */
import { type Pause, readPause, resumeQueue } from "@unseal/queue/pause"
import { resumeSuspended, SIDES, type Suspension } from "@unseal/queue/suspension/state"
import { OperationError } from "./operation-error.ts"
import type { QueueAccess } from "./queue-access.ts"

/** Selects suspensions. Without any choice: all, and the pause as well. */
export interface ResumeChoice {
  readonly projectId?: string | undefined
  /** One of `SIDES`. */
  readonly side?: string | undefined
}

/** What was ended, and what remains. */
export interface Resumed {
  /** The pause that was ended. */
  readonly endedPause: Pause | null
  /** The suspensions that were ended. */
  readonly suspensions: readonly Suspension[]
  /** The pause that the queue is still in: it was not selected, or has begun since. */
  readonly pause: Pause | null
}

/**
 * Ends the selected suspensions or, without a choice, all of them and the pause. Their archives go back in line as soon as a worker
 * looks. If the trouble persists, the first of them suspends the rest again. Throws `ERR_OPTION_INVALID` for an unknown side.
 */
export async function resume(
  { connection, queue }: QueueAccess,
  choice: ResumeChoice,
  signal: AbortSignal,
): Promise<Resumed> {
  const { projectId, side } = choice
  if (side !== undefined && !SIDES.some((one) => one === side))
    throw new OperationError("ERR_OPTION_INVALID", `${side} is not a side: the sides are ${SIDES.join(", ")}`)
  signal.throwIfAborted()
  const meansAll = projectId === undefined && side === undefined
  const endedPause = meansAll ? await resumeQueue(connection, queue) : null
  signal.throwIfAborted()
  const suspensions = await resumeSuspended(connection, queue, { projectId, side })
  return { endedPause, suspensions, pause: await readPause(connection, queue) }
}
