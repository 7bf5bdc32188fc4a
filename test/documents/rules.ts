/** Alerts and recording rules, as files for Prometheus, for the Prometheus Operator, and for the chart. */
import { FAILURES, type FailureCode, SUSPENDING_CODES } from "@unseal/queue/run/ending"
import { dump } from "js-yaml"
import { createRules, type PrometheusGroup } from "../../observability/rules/rules.ts"

const NOTE =
  "# Written by npm run docs from observability/rules. Change the rules there, not here. docs/runbook.md explains each alert.\n"

const isDeployments = (code: FailureCode) => SUSPENDING_CODES.some((one) => one === code)

/** Codes of dead letters. Those that only the queue knows are about workers and bugs, never about an archive. */
const CODES = {
  archive: (Object.keys(FAILURES) as FailureCode[]).filter(
    (code) => !isDeployments(code) && !["ERR_STALLED", "ERR_RUN_STUCK", "ERR_UNEXPECTED"].includes(code),
  ),
  deployment: [...SUSPENDING_CODES, "ERR_STALLED", "ERR_RUN_STUCK", "ERR_UNEXPECTED"],
}

/** The rules; `faster` is for tests. */
export const rulesOf = (faster = 1): readonly PrometheusGroup[] => createRules(CODES, faster)

const yaml = (value: unknown): string => dump(value, { lineWidth: -1, noRefs: true })

/** What Prometheus reads. */
export const rulesFile = (): string => NOTE + yaml({ groups: rulesOf() })

/** What the Prometheus Operator reads. */
export const prometheusRule = (): string =>
  NOTE +
  yaml({
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "unseal" },
    spec: { groups: rulesOf() },
  })
