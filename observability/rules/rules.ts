/** All recording rules and alerts. `npm run docs` writes them for Prometheus, the Prometheus Operator and Helm. */
import { ingestRules } from "./ingest.ts"
import { objectiveRules } from "./objectives.ts"
import { type DeadLetterCodes, queueRules } from "./queue.ts"
import { redisRules } from "./redis.ts"
import { type Alert, createClock, type Recording } from "./rule.ts"
import { workerRules } from "./workers.ts"

/** Where the runbook is. Relative to the repository: whoever publishes it replaces this by its URL. */
export const RUNBOOK = "docs/runbook.md"

/** A rule as Prometheus reads it. */
export type PrometheusRule =
  | Recording
  | {
      readonly alert: Alert["alert"]
      readonly expr: string
      readonly for?: string
      readonly labels: Readonly<Record<string, string>>
      readonly annotations: Readonly<Record<"summary" | "description" | "runbook_url", string>>
    }

export interface PrometheusGroup {
  readonly name: string
  readonly rules: readonly PrometheusRule[]
}

const OWNERS = { archive: "Archive", deployment: "Deployment", vendor: "Vendor" } as const

/**
 * The rules, on a clock that is `faster` times as fast: ranges, waits and limits in seconds. The days of certificates stay as
 * they are.
 */
export function createRules(codes: DeadLetterCodes, faster = 1): readonly PrometheusGroup[] {
  const clock = createClock(faster)
  const groups = [
    objectiveRules(clock),
    ingestRules(clock),
    queueRules(clock, codes),
    redisRules(clock),
    workerRules(clock),
  ]
  return groups.map(({ name, rules }) => ({ name, rules: rules.map(ruleOf) }))
}

function ruleOf(rule: Alert | Recording): PrometheusRule {
  if ("record" in rule) return rule
  const { alert, expr, severity, owner, labels, summary, description } = rule
  return {
    ...{ alert, expr },
    ...(rule.for !== "0d" && { for: rule.for }),
    labels: { severity, owner, ...labels },
    annotations: {
      summary: `${OWNERS[owner]}: ${summary}`,
      description,
      runbook_url: `${RUNBOOK}#${alert.toLowerCase()}`,
    },
  }
}
