/** Projects that are not fed for now, because the deployment has trouble with them. Their archives are not at fault. */
import type { Suspension } from "@unseal/queue/suspension/state"

export interface Blocks {
  /** Replaces the suspended projects. */
  suspend(suspensions: readonly Suspension[]): void
  /** Notes that a store of the project refuses. The project is left alone for a while, longer each time. */
  block(projectId: string, reason: string): void
  /** Notes that the store has answered. */
  clear(projectId: string): void
  isBlocked(projectId: string): boolean
  /** The projects that are blocked now, and why: ten of them at most. */
  list(): { readonly projectId: string; readonly reason: string }[]
}

const FIRST_MS = 2_000
const LONGEST_MS = 60_000

export function createBlocks(now: () => number = () => performance.now()): Blocks {
  let suspended = new Map<string, string>()
  const refused = new Map<
    string,
    { readonly until: number; readonly pauseMs: number; readonly reason: string }
  >()
  const isRefused = (projectId: string) => (refused.get(projectId)?.until ?? 0) > now()
  return {
    suspend(suspensions) {
      // A suspension of the vendor's side concerns only archives at the vendor's storage: the queue holds these itself.
      const meant = suspensions.filter(({ side }) => side !== "vendor")
      suspended = new Map(meant.map(({ projectId, reason }) => [projectId, reason]))
    },
    block(projectId, reason) {
      // Looks that fail together count as one refusal.
      if (isRefused(projectId)) return
      const pauseMs = Math.min(LONGEST_MS, 2 * (refused.get(projectId)?.pauseMs ?? FIRST_MS / 2))
      refused.set(projectId, { until: now() + pauseMs, pauseMs, reason })
    },
    clear(projectId) {
      if (refused.has(projectId) && !isRefused(projectId)) refused.delete(projectId)
    },
    isBlocked: (projectId) => suspended.has(projectId) || isRefused(projectId),
    list() {
      const all = new Map([...refused].map(([projectId, { reason }]) => [projectId, reason]))
      for (const [projectId, reason] of suspended) all.set(projectId, reason)
      return [...all].slice(0, 10).map(([projectId, reason]) => ({ projectId, reason }))
    },
  }
}
