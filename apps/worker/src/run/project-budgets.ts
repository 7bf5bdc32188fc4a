import { type ByteBudget, createByteBudget } from "@unseal/archive/decrypt/budget"
import type { WorkerProject } from "@unseal/service/projects/projects"

/** The budgets of the projects. A project with a limit has its own within the shared one. */
export interface ProjectBudgets {
  of(project: Pick<WorkerProject, "id" | "limits">): ByteBudget
}

export function createProjectBudgets(shared: ByteBudget, partSizeBytes: number): ProjectBudgets {
  const own = new Map<string, { readonly parts: number; readonly budget: ByteBudget }>()
  return {
    of({ id, limits: { partsInFlight } }) {
      if (partsInFlight === undefined) return shared
      let limited = own.get(id)
      // Runs that began before the limit changed keep theirs until they end.
      if (limited?.parts !== partsInFlight) {
        limited = { parts: partsInFlight, budget: within(shared, partsInFlight * partSizeBytes) }
        own.set(id, limited)
      }
      return limited.budget
    },
  }
}

/** `limit` bytes of `outer`. Takes its own limit first, because a run that waits for it must not hold what others could use. */
function within(outer: ByteBudget, limit: number): ByteBudget {
  const inner = createByteBudget(limit)
  return {
    limit,
    get holders() {
      return inner.holders
    },
    async acquire(bytes, signal) {
      const share = await inner.acquire(bytes, signal)
      try {
        const memory = await outer.acquire(bytes, signal)
        return {
          get bytes() {
            return memory.bytes
          },
          release() {
            memory.release()
            share.release()
          },
          forfeit() {
            memory.forfeit()
            share.release()
          },
        }
      } catch (error) {
        share.release()
        throw error
      }
    },
  }
}
