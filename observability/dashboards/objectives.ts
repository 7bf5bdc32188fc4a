/** What Unseal promises, as the boards show it. */
import { OBJECTIVES } from "../rules/objectives.ts"
import { type Labels, shareWithin } from "./promql.ts"

const budgetOf = (name: string): number => {
  const objective = OBJECTIVES.find((one) => one.name === name)
  if (objective === undefined) throw new Error(`no rules have an objective ${name}`)
  return objective.budget
}

/** Outcomes of a callback that the vendor counts as received. */
export const ACKNOWLEDGED = ["enqueued", "duplicate", "ignored"] as const

/** Outcomes that are this deployment's fault. The vendor has to send such a callback again. The others are the sender's fault. */
export const OWN_FAULT = ["failed", "unavailable", "draining", "clock"] as const

/** How long an answer may take, in seconds. It is a bound of the histogram. */
export const ACKNOWLEDGED_SECONDS = 2.5

/** The share of callbacks that are to be acknowledged in that time, of those that are not the sender's fault. */
export const ACKNOWLEDGED_SHARE = 1 - budgetOf("callbacks_unacknowledged")

/** How long an archive may take from its callback to its end, in seconds. It is a bound of the histogram. */
export const IN_TIME_SECONDS = 3_600

/** The share of archives that are to be decrypted in that time. */
export const IN_TIME_SHARE = 1 - budgetOf("archives_late")

/** The share of callbacks that were acknowledged in time, apart from those that are the sender's fault, in the board's time range. */
export const acknowledged = (labels: Labels = {}): string =>
  shareWithin(ACKNOWLEDGED_SECONDS, "unseal_callback_seconds", {
    labels: { ...labels, outcome: [...ACKNOWLEDGED, ...OWN_FAULT] },
    good: { outcome: ACKNOWLEDGED },
  })

/** The share of archives that were decrypted in time, in the board's time range. */
export const inTime = (): string =>
  shareWithin(IN_TIME_SECONDS, "unseal_archive_end_to_end_seconds", {
    good: { outcome: ["committed", "empty"] },
  })
