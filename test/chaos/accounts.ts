/** Checks I8 throughout a row, not only at its end: reads the queue's accounts every second. */
import { readAccounts } from "@unseal/queue/accounting"
import type { Violation } from "./check.ts"
import { QUEUE } from "./settings.ts"
import type { World } from "./world/world.ts"

export interface Books {
  /** How often they were read. */
  readonly looks: number
  readonly violations: readonly Violation[]
  stop(): void
}

const EVERY_MS = 1_000
/** One that is wrong for a whole row need not be said more often. */
const MOST_VIOLATIONS = 5

/** Enough for a violation that lasts for a whole row. */
export function watchAccounts({ hasty: connection, history }: Pick<World, "hasty" | "history">): Books {
  const violations: Violation[] = []
  let looks = 0
  let looking = false

  async function look(): Promise<void> {
    const accounts = await readAccounts(connection, QUEUE)
    if (!Number.isFinite(accounts.missing)) return
    looks++
    if (accounts.missing === 0 || violations.length >= MOST_VIOLATIONS) return
    const what = `the queue's accounts did not balance: ${JSON.stringify(accounts)}`
    history.add({ kind: "fault", what })
    violations.push({ invariant: "I8", what })
  }

  const timer = setInterval(() => {
    if (looking || connection.status !== "ready") return
    looking = true
    look()
      .catch(() => {})
      .finally(() => {
        looking = false
      })
  }, EVERY_MS)
  return {
    get looks() {
      return looks
    },
    violations,
    stop() {
      clearInterval(timer)
    },
  }
}
