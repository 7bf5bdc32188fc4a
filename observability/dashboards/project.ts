/** One project: what came in, what became of it, and what is wrong with it. */
import { board, UID } from "./board.ts"
import { BLUE, GREEN, graph, number, RED } from "./panels.ts"
import { gauge, increase, orZero, rate } from "./promql.ts"
import { suspensions } from "./shared.ts"

const ONE = { project: "$project" }

const ended = (outcome: readonly string[]) =>
  increase("unseal_archives_total", { labels: { ...ONE, outcome } })

export const project = board({
  uid: UID.project,
  title: "Unseal: one project",
  description:
    "What came in for a project, what became of it, and what is wrong. It is empty with UNSEAL_METRICS_PROJECT_LABEL=0.",
  choices: [
    { name: "project", title: "Project", from: ["unseal_callbacks_total", "project"], several: false },
  ],
  rows: [
    {
      title: "In the time range",
      panels: [
        number({
          title: "Archives taken in",
          normal: "as many as the project recorded.",
          otherwise:
            "none although it records: check the callback's URL and the signature secret of this project.",
          runbook: ["UnsealCallbacksAbsent"],
          unit: "count",
          width: 6,
          decimals: 0,
          line: false,
          queries: [
            ["taken in", increase("unseal_callbacks_total", { labels: { ...ONE, outcome: "enqueued" } })],
          ],
        }),
        number({
          title: "Archives decrypted",
          normal: "as many as were taken in, a moment later.",
          otherwise: "fewer: they wait, are held, or are dead letters.",
          more: UID.queue,
          unit: "count",
          width: 6,
          decimals: 0,
          line: false,
          queries: [["decrypted", ended(["committed", "already-committed", "empty"])]],
        }),
        number({
          title: "New dead letters",
          normal: "0.",
          otherwise: "the graph below has their codes; the queue board says what to do about each.",
          runbook: ["UnsealDeadLetters"],
          more: UID.queue,
          unit: "count",
          width: 6,
          decimals: 0,
          line: false,
          limits: { warn: 0.5, side: "above" },
          queries: [["dead letters", ended(["dead-letter"])]],
        }),
        number({
          title: "Suspended for",
          normal: "not suspended.",
          otherwise: "the table below says whose move it is.",
          runbook: ["UnsealSuspended"],
          unit: "seconds",
          width: 6,
          limits: { warn: 1, bad: 600, side: "above" },
          words: { "0": ["not suspended", GREEN] },
          queries: [["suspended", orZero(`max(${gauge("unseal_suspended_seconds", { labels: ONE })})`)]],
        }),
      ],
    },
    { title: "Whose move is it?", panels: [suspensions({ width: 24, height: 6, labels: ONE })] },
    {
      title: "Callbacks and archives",
      panels: [
        graph({
          title: "Callbacks, per minute",
          normal: "enqueued once for each recording; duplicate and ignored beside it.",
          otherwise:
            "unauthenticated: its secret is wrong here or in the vendor's dashboard. unsigned: secure callbacks are off there.",
          runbook: ["UnsealCallbacksUnauthentic"],
          more: UID.ingest,
          unit: "count",
          width: 8,
          stacked: true,
          colors: { enqueued: GREEN },
          queries: [
            ["{{outcome}}", `${rate("unseal_callbacks_total", { labels: ONE, by: ["outcome"] })} * 60 > 0`],
          ],
        }),
        graph({
          title: "Archives that ended, per minute",
          normal: "committed, and nothing else.",
          otherwise: "dead-letter: see beside it. handed-back: a worker stopped.",
          more: UID.queue,
          unit: "count",
          width: 8,
          stacked: true,
          colors: { committed: GREEN, "dead-letter": RED, "handed-back": BLUE },
          queries: [
            ["{{outcome}}", `${rate("unseal_archives_total", { labels: ONE, by: ["outcome"] })} * 60 > 0`],
          ],
        }),
        graph({
          title: "New dead letters, by code",
          normal: "nothing.",
          otherwise:
            "`unseal queue dead-letters --project ID` has the messages. docs/errors.md explains each code.",
          runbook: ["UnsealDeadLetters"],
          more: UID.queue,
          unit: "count",
          width: 8,
          stacked: true,
          queries: [
            [
              "{{code}}",
              `${increase("unseal_archives_total", { labels: { ...ONE, outcome: "dead-letter" }, by: ["code"], over: "$__rate_interval" })} > 0`,
            ],
          ],
        }),
      ],
    },
    {
      title: "Trouble",
      panels: [
        graph({
          title: "Archives held",
          normal: "nothing.",
          otherwise: "it grows until the trouble is over, then falls by itself.",
          runbook: ["UnsealSuspended"],
          unit: "count",
          width: 8,
          stacked: true,
          queries: [["{{side}}", gauge("unseal_suspended_archives", { labels: ONE, by: ["side"] })]],
        }),
        graph({
          title: "Most requests at once to a busy store",
          normal: "nothing: the store has not asked for fewer.",
          otherwise: "the store answers 503 SlowDown or 429. If it lasts, raise its limit.",
          more: UID.dependencies,
          unit: "count",
          width: 8,
          queries: [["{{side}}", gauge("unseal_store_requests_limit", { labels: ONE, by: ["side"] })]],
        }),
        graph({
          title: "Key files that can't be used, and workers that stand aside",
          normal: "0 files, and no worker.",
          otherwise:
            "files: replace the file that the log names. aside: that worker has its own trouble; replace it.",
          runbook: ["UnsealKeyFilesUnusable"],
          more: UID.dependencies,
          unit: "count",
          width: 8,
          queries: [
            ["key files", gauge("unseal_key_files_unusable", { labels: ONE })],
            ["aside: {{side}}", gauge("unseal_worker_aside", { labels: ONE, by: ["side"] })],
          ],
        }),
      ],
    },
  ],
})
