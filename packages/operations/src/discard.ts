/** Removes dead letters for good. */

import { openDeadLetters } from "@unseal/queue/dead-letters/dead-letters"
import type { DeadLetter } from "@unseal/queue/dead-letters/list"
import { findDeadLetters } from "./dead-letters.ts"
import { OperationError } from "./operation-error.ts"
import type { QueueAccess } from "./queue-access.ts"

/**
 * Discards the dead letters of `ids`, of jobs or archives, and yields each one that is gone; the caller keeps the reason. Unless
 * all of them exist, none is touched: `ERR_DEAD_LETTER_UNKNOWN`. Throws `ERR_OPTION_INVALID` at once if no id is given. An abort
 * of `signal` ends it with its reason.
 */
export function discard(
  access: QueueAccess,
  ids: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<DeadLetter> {
  if (ids.length === 0)
    throw new OperationError("ERR_OPTION_INVALID", "nothing says which dead letters are meant")
  return discardEach()

  async function* discardEach(): AsyncGenerator<DeadLetter> {
    const letters = await findDeadLetters(access, { ids }, Number.POSITIVE_INFINITY, signal)
    const known = new Set(letters.flatMap(({ jobId, archiveId }) => [jobId, archiveId]))
    const unknown = ids.filter((id) => !known.has(id))
    if (unknown.length > 0)
      throw new OperationError(
        "ERR_DEAD_LETTER_UNKNOWN",
        `no dead letter belongs to the job or archive ${unknown.join(", ")}; nothing was discarded`,
      )
    const deadLetters = openDeadLetters(access)
    try {
      for (const letter of letters) {
        signal.throwIfAborted()
        if (await deadLetters.discard(letter.jobId)) yield letter
      }
    } finally {
      await deadLetters.close()
    }
  }
}
