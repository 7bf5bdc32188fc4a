import type { QueueAccess } from "@unseal/operations/queue-access"
import { queueExists } from "@unseal/queue/status"

/**
 * Says on stderr that there is no such queue, which explains why a command finds nothing. In a new installation that is no
 * mistake.
 */
export async function sayIfAbsent({ connection, queue }: QueueAccess): Promise<void> {
  if (!(await queueExists(connection, queue))) sayAbsent(queue)
}

/** Says on stderr that there is no queue `name`. */
export function sayAbsent(name: string): void {
  process.stderr.write(
    `there is no queue ${name} in this Redis: either nothing was ever enqueued, or UNSEAL_QUEUE or REDIS_URL names another one\n`,
  )
}
