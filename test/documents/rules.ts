/** Alerts and recording rules, as files for Prometheus, for the Prometheus Operator, and for the chart. */
import { FAILURES, type FailureCode } from "@unseal/queue/run/ending"
import { dump } from "js-yaml"
import { createRules, type PrometheusGroup } from "../../observability/rules/rules.ts"

const NOTE =
  "# Written by npm run docs from observability/rules. Change the rules there, not here. docs/runbook.md explains each alert.\n"

const codesOf = (owner: "archive" | "deployment"): FailureCode[] =>
  (Object.keys(FAILURES) as FailureCode[]).filter((code) => FAILURES[code].owner === owner)

/** Codes of dead letters. */
const CODES = { archive: codesOf("archive"), deployment: codesOf("deployment") }

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
