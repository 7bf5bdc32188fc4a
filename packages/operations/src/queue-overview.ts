/** The state of a queue in one look. */
import { type Accounts, readAccounts } from "@unseal/queue/accounting"
import { type Backlog, readBacklog } from "@unseal/queue/backlog"
import { type Pause, readPause } from "@unseal/queue/pause"
import { type QueueStatus, queueExists, queueStatus } from "@unseal/queue/status"
import { listSuspensions, type Suspension } from "@unseal/queue/suspension/state"
import type { QueueAccess } from "./queue-access.ts"

export interface QueueOverview {
  /** `false` if nothing was ever put into it, and no worker ever waited for it. */
  readonly exists: boolean
  readonly status: QueueStatus
  readonly accounts: Accounts
  readonly backlog: Backlog
  readonly suspensions: readonly Suspension[]
  readonly pause: Pause | null
}

/** The current state of the queue: a few counts, whatever its length. */
export async function readQueueOverview({ connection, queue }: QueueAccess): Promise<QueueOverview> {
  const [exists, status, accounts, backlog, suspensions, pause] = await Promise.all([
    queueExists(connection, queue),
    queueStatus(connection, queue),
    readAccounts(connection, queue),
    readBacklog(connection, queue),
    listSuspensions(connection, queue),
    readPause(connection, queue),
  ])
  return { exists, status, accounts, backlog, suspensions, pause }
}
