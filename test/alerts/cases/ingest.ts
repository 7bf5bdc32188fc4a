/** Callbacks. */
import { type Case, grows, PROJECT, stays } from "../case.ts"

export const INGEST_CASES: readonly Case[] = [
  {
    alert: "UnsealIngestRefusing",
    ...{ severity: "warning", owner: "deployment", labels: { outcome: "clock" } },
    series: { 'unseal_callbacks_total{project="123456",outcome="clock"': [grows(0.5), grows(4)] },
    summary: "Deployment: ingest sends callbacks away (clock)",
    description:
      '26.67% of the callbacks of the last five minutes were answered 5xx with the outcome "clock". The vendor repeats them for a while, then they are lost. docs/endpoints.md says what the outcome means; ingest\'s log names the reason.',
  },
  {
    alert: "UnsealCallbacksUnauthentic",
    ...{ severity: "warning", owner: "deployment", labels: PROJECT },
    series: { 'unseal_callbacks_total{project="123456",outcome="unauthenticated"': [grows(10), grows(12)] },
    summary: "Deployment: most callbacks of project 123456 are not authentic",
    description:
      "180 callbacks of project 123456 in the last fifteen minutes had no signature, or a wrong one, and fewer were authentic. Either somebody else sends them, or the signature secret here is not the one in the vendor's dashboard. The vendor does not repeat what is answered 401.",
  },
  {
    alert: "UnsealProjectsFileInvalid",
    ...{ severity: "warning", owner: "deployment", labels: {} },
    series: { unseal_projects_file_invalid: [stays(0), stays(1)] },
    summary: "Deployment: the projects file can't be used",
    description:
      "Processes that can't use the projects file, or a file that it names: 1. They keep the projects that they had. A process that starts now ends at once.",
  },
]
