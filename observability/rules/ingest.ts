/** Callbacks that don't come, or are not taken. */
import { by, type Clock, type Group, HOUR, MINUTE, REFUSED, TAKEN, THE_PROJECT, WEEK } from "./rule.ts"

const callbacks = (selector: string, range: string) => `increase(unseal_callbacks_total{${selector}}${range})`

/** Fewer than these in the same hour a week ago say nothing about this hour. */
const USUAL = 10

export function ingestRules({ span }: Clock): Group {
  const [five, fifteen] = [`[${span(5 * MINUTE)}]`, `[${span(15 * MINUTE)}]`]
  const refused = by("sum", callbacks(`outcome=~"${REFUSED}"`, five), "outcome")
  const authentic = by("sum", callbacks(`outcome=~"${TAKEN}|${REFUSED}"`, five))
  const unproved = by(
    "sum",
    callbacks('project!="unknown",outcome=~"unauthenticated|unsigned"', fifteen),
    "project",
  )
  const proved = by("sum", callbacks(`outcome=~"${TAKEN}|${REFUSED}"`, fifteen), "project")
  const taken = (range: string) => by("sum", callbacks(`outcome=~"${TAKEN}"`, range), "project")
  return {
    name: "unseal-ingest",
    rules: [
      {
        alert: "UnsealIngestRefusing",
        ...{ severity: "warning", owner: "deployment", for: span(MINUTE) },
        expr: `${refused} / on (namespace) group_left () ${authentic} > 0.05\nand ${refused} > 3`,
        summary: "ingest sends callbacks away ({{ $labels.outcome }})",
        description:
          '{{ $value | humanizePercentage }} of the callbacks of the last five minutes were answered 5xx with the outcome "{{ $labels.outcome }}". The vendor repeats them for a while, then they are lost. docs/endpoints.md says what the outcome means; ingest\'s log names the reason.',
      },
      {
        alert: "UnsealCallbacksUnauthentic",
        ...{ severity: "warning", owner: "deployment", for: span(5 * MINUTE) },
        expr: `${unproved} > 3\nunless ${unproved} <= ${proved}`,
        summary: `most callbacks of ${THE_PROJECT} are not authentic`,
        description: `{{ printf "%.0f" $value }} callbacks of ${THE_PROJECT} in the last fifteen minutes had no signature, or a wrong one, and fewer were authentic. Either somebody else sends them, or the signature secret here is not the one in the vendor's dashboard. The vendor does not repeat what is answered 401.`,
      },
      {
        alert: "UnsealCallbacksAbsent",
        ...{ severity: "warning", owner: "vendor", for: span(15 * MINUTE) },
        expr: `${taken(`[${span(HOUR)}] offset ${span(WEEK)}`)} >= ${USUAL}\nand ${taken(`[${span(HOUR)}]`)} == 0`,
        summary: `no callbacks of ${THE_PROJECT} for an hour`,
        description: `Ingest has taken no callback of ${THE_PROJECT} for an hour. In the same hour a week ago it took {{ printf "%.0f" $value }}. Either nothing is being recorded, or the vendor's callbacks don't arrive.`,
      },
      {
        alert: "UnsealProjectsFileInvalid",
        ...{ severity: "warning", owner: "deployment", for: span(MINUTE) },
        expr: "count by (namespace) (unseal_projects_file_invalid > 0)",
        summary: "the projects file can't be used",
        description:
          'Processes that can\'t use the projects file, or a file that it names: {{ printf "%.0f" $value }}. They keep the projects that they had. A process that starts now ends at once.',
      },
    ],
  }
}
