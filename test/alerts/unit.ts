/** The unit tests of all alerts, as files for promtool. Each case has a namespace of its own, so that many share one timeline. */
import { rulesOf } from "../documents/rules.ts"
import type { Case, Said, Timeline } from "./case.ts"
import { INGEST_CASES } from "./cases/ingest.ts"
import { BURNS_OF_DAYS, BURNS_OF_HOURS, FEW_ARCHIVES } from "./cases/objectives.ts"
import { QUEUE_CASES } from "./cases/queue.ts"
import { REDIS_CASES } from "./cases/redis.ts"
import { FORGOTTEN, LAST_WEEK, YESTERDAY } from "./cases/times.ts"
import { WORKER_CASES } from "./cases/workers.ts"
import { type Course, HEALTHY, notation, seriesNamed } from "./series.ts"

export const TIMELINES: readonly Timeline[] = [
  {
    ...{ name: "limits", step: 2, phases: [40, 40, 40, 76], besideHealthy: true },
    cases: [...INGEST_CASES, ...QUEUE_CASES, ...REDIS_CASES, ...WORKER_CASES],
  },
  {
    ...{ name: "what was minutes ago", step: 1, phases: [20, 20, 10, 60], besideHealthy: true },
    cases: FORGOTTEN,
  },
  {
    ...{ name: "burns of hours", step: 2, phases: [60, 80, 80, 400] },
    ...{ cases: BURNS_OF_HOURS, quiet: FEW_ARCHIVES },
  },
  { name: "burns of days", step: 10, phases: [720, 720, 720, 480], cases: BURNS_OF_DAYS },
  { name: "what was yesterday", step: 10, phases: [60, 60, 60, 1_600], cases: YESTERDAY },
  { name: "what was a week ago", step: 20, phases: [10_260, 120, 120, 120], cases: LAST_WEEK },
]

export const ALL_CASES: readonly Case[] = TIMELINES.flatMap(({ cases }) => cases)

const HEALTHY_NAMESPACE = "healthy"

/** The content of a file for promtool: the timeline's cases at once; one of them beside a namespace in which all is well. */
export function unitTests(
  { step, phases, cases, quiet = [], besideHealthy = false }: Timeline,
  rulesFile: string,
) {
  const spaces = cases.map((each, index) => ({ each, namespace: `case-${index + 1}` }))
  const [first, second, third, fourth] = phases
  const [healthy, below, beyond, again] = [
    first,
    first + second,
    first + second + third,
    first + second + third + fourth,
  ].map((end) => end - step) as [number, number, number, number]
  const names = [
    ...new Set(ALL_CASES.flatMap((each) => [each, ...(each.also ?? [])]).map(({ alert }) => alert)),
  ]

  const inNamespace = (namespace: string) => (said: Said) => ({
    alert: said.alert,
    labels: { namespace, severity: said.severity, owner: said.owner, ...said.labels },
    annotations: {
      summary: said.summary,
      description: said.description,
      runbook_url: `docs/runbook.md#${said.alert.toLowerCase()}`,
    },
  })
  const firing = spaces.flatMap(({ each, namespace }) =>
    [each, ...(each.also ?? [])].map(inNamespace(namespace)),
  )
  const firingBelow = spaces.flatMap(({ each, namespace }) =>
    (each.firesBelow ?? []).map((labels) => ({
      alertname: each.alert,
      owner: each.owner,
      namespace,
      ...labels,
    })),
  )
  return {
    rule_files: [rulesFile],
    evaluation_interval: `${step}m`,
    tests: [
      {
        interval: `${step}m`,
        input_series: [
          ...(besideHealthy ? inputOf(HEALTHY_NAMESPACE, [...HEALTHY.keys()], {}, phases, step) : []),
          ...spaces.flatMap(({ each, namespace }) =>
            inputOf(namespace, relatedTo(each), each.series, phases, step),
          ),
          ...quiet.flatMap(({ series }, index) => inputOf(`quiet-${index}`, [], series, phases, step)),
        ],
        alert_rule_test: names.map((alertname) => ({
          alertname,
          eval_time: `${beyond}m`,
          exp_alerts: firing
            .filter(({ alert }) => alert === alertname)
            .map(({ labels, annotations }) => ({ exp_labels: labels, exp_annotations: annotations })),
        })),
        promql_expr_test: [
          alertsAt(healthy, []),
          alertsAt(below, firingBelow),
          alertsAt(
            beyond,
            firing.map(({ alert, labels }) => ({ alertname: alert, ...labels })),
          ),
          alertsAt(again, []),
        ],
      },
    ],
  }
}

/** Exactly these alerts fire at this minute, in whatever namespace. */
const alertsAt = (minute: number, alerts: readonly Readonly<Record<string, string>>[]) => ({
  expr: 'ALERTS{alertstate="firing"}',
  eval_time: `${minute}m`,
  exp_samples: alerts.map((labels) => ({
    labels: `ALERTS{alertstate="firing",${Object.entries(labels)
      .map(([name, value]) => `${name}="${value}"`)
      .join(",")}}`,
    value: 1,
  })),
})

/** The healthy series of every rule that sees one of the case's own. The others could only cost time. */
function relatedTo({ series }: Case): string[] {
  const own = Object.keys(series).map((part) => metricOf(part))
  const seen = new Set(
    EXPRESSIONS.map(metricsIn)
      .filter((metrics) => own.some((metric) => metrics.includes(metric)))
      .flat(),
  )
  return [...HEALTHY.keys()].filter((name) => seen.has(metricOf(name)))
}

const EXPRESSIONS = rulesOf().flatMap(({ rules }) => rules.map(({ expr }) => expr))
const metricOf = (series: string) => /^\w+/.exec(series)![0]
/** Other words in an expression are not metrics of `HEALTHY`. */
const metricsIn = (expr: string): string[] => expr.match(/\w+/g) ?? []

function inputOf(
  namespace: string,
  healthySeries: readonly string[],
  series: Case["series"],
  phases: readonly number[],
  step: number,
): { readonly series: string; readonly values: string }[] {
  const changes = new Map(Object.entries(series).map(([part, courses]) => [seriesNamed(part), courses]))
  return [...new Set([...healthySeries, ...changes.keys()])].map((name) => {
    const healthy = HEALTHY.get(name) ?? "missing"
    const change = changes.get(name)
    const courses = [healthy, change?.[0] ?? healthy, change?.[1] ?? healthy, healthy]
    return {
      series: name.replace("{", `{namespace="${namespace}",`),
      values: notation(
        phases.map((minutes, phase): [Course, number] => [courses[phase]!, minutes / step]),
        step,
      ),
    }
  })
}
