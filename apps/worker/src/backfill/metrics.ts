import type { FedBackfill } from "@unseal/operations/backfill/feed/feeding"
import { createGauge, type Registry } from "@unseal/service/metrics"

const STATES = [
  ...(["waiting", "delayed", "restoring", "committed", "done"] as const),
  ...(["dead-letter", "discarded", "refused", "unrecorded", "cancelled"] as const),
] as const

/** The metrics of backfills, which only the process that feeds shows. */
export function createBackfillMetrics(registry: Registry): { show(backfills: readonly FedBackfill[]): void } {
  let shown: readonly FedBackfill[] = []
  createGauge(registry, {
    name: "unseal_backfills",
    help: "Backfills under way, in the process that feeds them. For a halted one, its log and `unseal backfill status` have the reason. Absent elsewhere",
    labels: { state: ["fed", "halted"] },
    overReplicas: "sum",
    collect(set) {
      if (shown.length === 0) return
      const halted = shown.filter((one) => one.halted !== null).length
      set({ state: "halted" }, halted)
      set({ state: "fed" }, shown.length - halted)
    },
  })
  createGauge(registry, {
    name: "unseal_backfill_lines",
    help: "Lines of the backfills under way, by state. Waiting: in line or running. Delayed: in the queue until their object is there or their project works again. Restoring: being restored from an archival storage class. Done: decrypted before the backfill began. Absent in processes that feed none",
    labels: { state: STATES },
    overReplicas: "sum",
    collect(set) {
      if (shown.length === 0) return
      const sum = (of: (one: FedBackfill) => number) => shown.reduce((all, one) => all + of(one), 0)
      for (const state of ["waiting", "delayed", "restoring"] as const)
        set(
          { state },
          sum((one) => one[state]),
        )
      for (const state of STATES)
        if (state !== "waiting" && state !== "delayed" && state !== "restoring")
          set(
            { state },
            sum(({ outcomes }) => outcomes[state]),
          )
    },
  })
  return {
    show(backfills) {
      shown = backfills
    },
  }
}
