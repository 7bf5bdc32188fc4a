/** The objectives. Eleven callbacks arrive in a minute, and ten archives, five at each worker. */
import { type Case, grows, type Quiet } from "../case.ts"

const TAKEN_IN_TIME =
  'unseal_callback_seconds_bucket{job="ingest",instance="ingest-1:9090",outcome="enqueued"'
const DECRYPTED_IN_TIME =
  'unseal_archive_end_to_end_seconds_bucket{job="worker",instance="worker-1:9091",outcome="committed"'

export const BURNS_OF_HOURS: readonly Case[] = [
  {
    alert: "UnsealCallbackObjective",
    ...{ severity: "critical", owner: "deployment", labels: { window: "1h" } },
    series: {
      'unseal_callback_seconds_count{job="ingest",instance="ingest-1:9090",outcome="unavailable"': [
        grows(0.14),
        grows(1),
      ],
      'unseal_callbacks_total{job="ingest",instance="ingest-1:9090",project="123456",outcome="unavailable"': [
        grows(0.14),
        grows(1),
      ],
    },
    firesBelow: [
      { severity: "critical", window: "6h" },
      { severity: "warning", window: "3d" },
    ],
    summary: "Deployment: callbacks are not acknowledged in time",
    description:
      "In the last 1h, 8.333% of the callbacks were refused, or answered after more than 2.5 s. The objective allows 0.1% in thirty days, and this uses it up 14.4 times as fast. Look at Redis first: ingest answers when Redis has the job.",
    also: [
      {
        alert: "UnsealCallbackObjective",
        ...{ severity: "critical", owner: "deployment", labels: { window: "6h" } },
        summary: "Deployment: callbacks are not acknowledged in time",
        description:
          "In the last 6h, 3.632% of the callbacks were refused, or answered after more than 2.5 s. The objective allows 0.1% in thirty days, and this uses it up 6 times as fast. Look at Redis first: ingest answers when Redis has the job.",
      },
      {
        alert: "UnsealCallbackObjective",
        ...{ severity: "warning", owner: "deployment", labels: { window: "3d" } },
        summary: "Deployment: callbacks are not acknowledged in time",
        description:
          "In the last 3d, 3.632% of the callbacks were refused, or answered after more than 2.5 s. The objective allows 0.1% in thirty days, and this uses it up in that time. Look at Redis first: ingest answers when Redis has the job.",
      },
      {
        alert: "UnsealIngestRefusing",
        ...{ severity: "warning", owner: "deployment", labels: { outcome: "unavailable" } },
        summary: "Deployment: ingest sends callbacks away (unavailable)",
        description:
          '8.333% of the callbacks of the last five minutes were answered 5xx with the outcome "unavailable". The vendor repeats them for a while, then they are lost. docs/endpoints.md says what the outcome means; ingest\'s log names the reason.',
      },
    ],
  },
  {
    alert: "UnsealArchiveObjective",
    ...{ severity: "critical", owner: "deployment", labels: { window: "1h" } },
    series: { [DECRYPTED_IN_TIME]: [grows(3.6), grows(3)] },
    firesBelow: [
      { severity: "critical", window: "6h" },
      { severity: "warning", window: "3d" },
    ],
    summary: "Deployment: archives are not decrypted in time",
    description:
      "In the last 1h, 20% of the archives took more than an hour, or became dead letters. The objective allows 1% in thirty days, and this uses it up 14.4 times as fast. Other alerts name the cause: dead letters, suspensions, a long wait, full workers.",
    also: [
      {
        alert: "UnsealArchiveObjective",
        ...{ severity: "critical", owner: "deployment", labels: { window: "6h" } },
        summary: "Deployment: archives are not decrypted in time",
        description:
          "In the last 6h, 12.65% of the archives took more than an hour, or became dead letters. The objective allows 1% in thirty days, and this uses it up 6 times as fast. Other alerts name the cause: dead letters, suspensions, a long wait, full workers.",
      },
      {
        alert: "UnsealArchiveObjective",
        ...{ severity: "warning", owner: "deployment", labels: { window: "3d" } },
        summary: "Deployment: archives are not decrypted in time",
        description:
          "In the last 3d, 12.65% of the archives took more than an hour, or became dead letters. The objective allows 1% in thirty days, and this uses it up in that time. Other alerts name the cause: dead letters, suspensions, a long wait, full workers.",
      },
    ],
  },
]

export const BURNS_OF_DAYS: readonly Case[] = [
  {
    alert: "UnsealCallbackObjective",
    ...{ severity: "critical", owner: "deployment", labels: { window: "6h" } },
    series: { [TAKEN_IN_TIME]: [grows(9.9395), grows(9.912)] },
    firesBelow: [{ severity: "warning", window: "3d" }],
    summary: "Deployment: callbacks are not acknowledged in time",
    description:
      "In the last 6h, 0.8% of the callbacks were refused, or answered after more than 2.5 s. The objective allows 0.1% in thirty days, and this uses it up 6 times as fast. Look at Redis first: ingest answers when Redis has the job.",
    also: [
      {
        alert: "UnsealCallbackObjective",
        ...{ severity: "warning", owner: "deployment", labels: { window: "3d" } },
        summary: "Deployment: callbacks are not acknowledged in time",
        description:
          "In the last 3d, 0.45% of the callbacks were refused, or answered after more than 2.5 s. The objective allows 0.1% in thirty days, and this uses it up in that time. Look at Redis first: ingest answers when Redis has the job.",
      },
    ],
  },
  {
    alert: "UnsealCallbackObjective",
    ...{ severity: "warning", owner: "deployment", labels: { window: "3d" } },
    series: { [TAKEN_IN_TIME]: [grows(9.9802), grows(9.956)] },
    summary: "Deployment: callbacks are not acknowledged in time",
    description:
      "In the last 3d, 0.1933% of the callbacks were refused, or answered after more than 2.5 s. The objective allows 0.1% in thirty days, and this uses it up in that time. Look at Redis first: ingest answers when Redis has the job.",
  },
  {
    alert: "UnsealArchiveObjective",
    ...{ severity: "critical", owner: "deployment", labels: { window: "6h" } },
    series: { [DECRYPTED_IN_TIME]: [grows(4.45), grows(4.2)] },
    firesBelow: [{ severity: "warning", window: "3d" }],
    summary: "Deployment: archives are not decrypted in time",
    description:
      "In the last 6h, 8% of the archives took more than an hour, or became dead letters. The objective allows 1% in thirty days, and this uses it up 6 times as fast. Other alerts name the cause: dead letters, suspensions, a long wait, full workers.",
    also: [
      {
        alert: "UnsealArchiveObjective",
        ...{ severity: "warning", owner: "deployment", labels: { window: "3d" } },
        summary: "Deployment: archives are not decrypted in time",
        description:
          "In the last 3d, 4.5% of the archives took more than an hour, or became dead letters. The objective allows 1% in thirty days, and this uses it up in that time. Other alerts name the cause: dead letters, suspensions, a long wait, full workers.",
      },
    ],
  },
  {
    alert: "UnsealArchiveObjective",
    ...{ severity: "warning", owner: "deployment", labels: { window: "3d" } },
    series: { [DECRYPTED_IN_TIME]: [grows(4.82), grows(4.6)] },
    summary: "Deployment: archives are not decrypted in time",
    description:
      "In the last 3d, 1.933% of the archives took more than an hour, or became dead letters. The objective allows 1% in thirty days, and this uses it up in that time. Other alerts name the cause: dead letters, suspensions, a long wait, full workers.",
  },
]

const archives = (series: string) => `unseal_archive_end_to_end_seconds_${series}`

export const FEW_ARCHIVES: readonly Quiet[] = [
  {
    quiet: "two of three archives in eighty minutes are late, and there are no others",
    series: {
      [archives('count{job="worker",instance="worker-1:9091",outcome="committed"}')]: [grows(0), grows(0.03)],
      [archives('bucket{job="worker",instance="worker-1:9091",outcome="committed",le="3600"}')]: [
        grows(0),
        grows(0.01),
      ],
    },
  },
]
