/** What holds a queue back is ended by hand: a pause, and suspensions. */
import { type Pause, readPause, resumeQueue } from "@unseal/queue/pause"
import { resumeSuspended, SIDES, type Suspension } from "@unseal/queue/suspension-state"
import { OperationError } from "./operation-error.ts"
import type { QueueAccess } from "./queue-access.ts"

/** Which suspensions are meant. Without any choice, all, and the pause as well. */
export interface ResumeChoice {
  readonly projectId?: string | undefined
  /** One of `SIDES`. */
  readonly side?: string | undefined
}

/** What was ended, and what still holds. */
export interface Resumed {
  /** The pause that was ended. */
  readonly endedPause: Pause | null
  /** The suspensions that were ended. */
  readonly suspensions: readonly Suspension[]
  /** The pause that the queue is still in: one that was not meant, or has begun since. */
  readonly pause: Pause | null
}

/**
 * Ends a pause, unless suspensions are chosen, and suspensions. Their archives go back in line as soon as a worker looks; if the trouble is
 * still there, the first of them suspends the rest again. `ERR_OPTION_INVALID` for a side that there is not.
 */
export async function resume(
  { connection, queue }: QueueAccess,
  choice: ResumeChoice,
  signal: AbortSignal,
): Promise<Resumed> {
  const { projectId, side } = choice
  if (side !== undefined && !SIDES.some((one) => one === side))
    throw new OperationError("ERR_OPTION_INVALID", `${side} is no side: there are ${SIDES.join(", ")}`)
  signal.throwIfAborted()
  const meansAll = projectId === undefined && side === undefined
  const endedPause = meansAll ? await resumeQueue(connection, queue) : null
  signal.throwIfAborted()
  const suspensions = await resumeSuspended(connection, queue, { projectId, side })
  return { endedPause, suspensions, pause: await readPause(connection, queue) }
}
