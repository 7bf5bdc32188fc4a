import type { LaneBudgets, MeasuredBudget } from "@unseal/archive/decrypt/budget"
import type { WorkerProject } from "@unseal/service/projects/projects"

/** The budgets of the projects. A project with a limit has its own within the shared one, for both lanes together. */
export interface ProjectBudgets {
  of(project: Pick<WorkerProject, "id" | "limits">): LaneBudgets
}

export function createProjectBudgets(
  shared: Pick<MeasuredBudget, "lanes" | "within">,
  partSizeBytes: number,
): ProjectBudgets {
  const own = new Map<string, { readonly parts: number; readonly lanes: LaneBudgets }>()
  return {
    of({ id, limits: { partsInFlight } }) {
      if (partsInFlight === undefined) return shared.lanes
      let limited = own.get(id)
      // Runs that began before the limit changed keep theirs until they end.
      if (limited?.parts !== partsInFlight) {
        limited = { parts: partsInFlight, lanes: shared.within(partsInFlight * partSizeBytes) }
        own.set(id, limited)
      }
      return limited.lanes
    },
  }
}
