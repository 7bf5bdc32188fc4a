/** The queue and what was given up. */
import { backlog } from "./backlog.ts"
import { board, UID } from "./board.ts"
import { ACKNOWLEDGED, IN_TIME_SECONDS } from "./objectives.ts"
import { GREEN, graph, number, RED } from "./panels.ts"
import { gauge, increase, quantile, rate } from "./promql.ts"
import { deadLetters, suspensions } from "./shared.ts"

const jobs = (state: string) => gauge("unseal_queue_jobs", { labels: { state } })

const now = [
  number({
    title: "Waiting",
    normal: "near zero between bursts.",
    otherwise: "it grows: add workers, unless nothing is active. Then see what is paused or suspended.",
    runbook: ["UnsealOldestWait"],
    unit: "count",
    width: 4,
    queries: [["waiting", jobs("waiting")]],
  }),
  number({
    title: "Active",
    normal: "up to workers times UNSEAL_CONCURRENCY.",
    otherwise: "zero while archives wait: no worker runs, or the queue is paused.",
    more: UID.worker,
    unit: "count",
    width: 4,
    queries: [["active", jobs("active")]],
  }),
  number({
    title: "Delayed",
    normal: "a few: their objects are not there yet, or they are tried again later.",
    otherwise:
      "many: the vendor's uploads are late, or the source key templates do not match. `unseal archives show ID` tells.",
    unit: "count",
    width: 4,
    queries: [["delayed", jobs("delayed")]],
  }),
  number({
    title: "Suspended",
    normal: "0.",
    otherwise: "the table below says whose move it is.",
    runbook: ["UnsealSuspended"],
    unit: "count",
    width: 4,
    limits: { warn: 1, side: "above" },
    queries: [["suspended", jobs("suspended")]],
  }),
  number({
    title: "Dead letters",
    normal: "0.",
    otherwise: "the table below says what to do about each code.",
    runbook: ["UnsealDeadLetters"],
    unit: "count",
    width: 4,
    limits: { warn: 1, bad: 10, side: "above" },
    queries: [["dead letters", jobs("failed")]],
  }),
  number({
    title: "Oldest dead letter",
    normal: "0 s: there is none.",
    otherwise: "the vendor may delete its copy after some days. Redrive or discard it before.",
    runbook: ["UnsealDeadLetters"],
    unit: "seconds",
    width: 4,
    limits: { warn: 1, bad: 86_400, side: "above" },
    queries: [["age", gauge("unseal_dead_letters_oldest_seconds")]],
  }),
]

const times = [
  graph({
    title: "In and out, per minute",
    normal: "the two lines coincide, apart from bursts.",
    otherwise: "in above out for long: the backlog grows.",
    unit: "count",
    width: 8,
    queries: [
      ["in", `${rate("unseal_callbacks_total", { labels: { outcome: ACKNOWLEDGED[0] }, over: "5m" })} * 60`],
      [
        "out",
        `${rate("unseal_archives_total", { labels: { outcome: ["committed", "already-committed", "empty", "dead-letter"] }, over: "5m" })} * 60`,
      ],
    ],
  }),
  graph({
    title: "Wait for the first start",
    normal: "seconds.",
    otherwise: "minutes: too few workers.",
    more: UID.worker,
    unit: "seconds",
    width: 8,
    queries: [
      ["half", `${quantile(0.5, "unseal_queue_wait_seconds", { over: "5m" })} >= 0`],
      ["95 %", `${quantile(0.95, "unseal_queue_wait_seconds", { over: "5m" })} >= 0`],
    ],
  }),
  graph({
    title: "Waiting archives, by lane",
    normal: "live goes back to zero between bursts. bulk falls for as long as a backfill takes.",
    otherwise: "bulk does not fall for hours: live archives take all workers but for its share. Add workers.",
    unit: "count",
    width: 12,
    stacked: true,
    queries: [["{{lane}}", gauge("unseal_queue_lane_jobs", { by: ["lane"] })]],
  }),
  graph({
    title: "Waiting bytes, by lane",
    normal: "as above, in bytes.",
    otherwise: "bulk divided by the rate of bytes written is how long the backfill takes.",
    unit: "bytes",
    width: 12,
    stacked: true,
    queries: [["{{lane}}", gauge("unseal_queue_lane_bytes", { by: ["lane"] })]],
  }),
  graph({
    title: "From the callback to the end",
    normal: "the wait, and the time of a run. Below the dashed line.",
    otherwise: "see what is long: the wait, or the run (worker board).",
    runbook: ["UnsealArchiveObjective"],
    more: UID.worker,
    unit: "seconds",
    width: 8,
    limits: { bad: IN_TIME_SECONDS, side: "above" },
    queries: [
      ["half", `${quantile(0.5, "unseal_archive_end_to_end_seconds", { over: "5m" })} >= 0`],
      ["95 %", `${quantile(0.95, "unseal_archive_end_to_end_seconds", { over: "5m" })} >= 0`],
    ],
  }),
]

const given = [
  deadLetters({ width: 16, height: 9 }),
  graph({
    title: "New dead letters, by code",
    normal: "nothing.",
    otherwise: "many of one code at once: one cause. Mend it, then redrive that code.",
    runbook: ["UnsealDeadLetters"],
    unit: "count",
    width: 8,
    height: 9,
    stacked: true,
    queries: [
      [
        "{{code}}",
        `${increase("unseal_archives_total", { labels: { outcome: "dead-letter" }, by: ["code"], over: "$__rate_interval" })} > 0`,
      ],
    ],
  }),
]

const held = [
  suspensions({ width: 24, height: 6 }),
  graph({
    title: "Archives held by suspensions",
    normal: "nothing.",
    otherwise: "it grows until the trouble is over, then falls to zero by itself. Nothing is lost meanwhile.",
    runbook: ["UnsealSuspended"],
    unit: "count",
    width: 12,
    stacked: true,
    queries: [["{{project}} {{side}}", gauge("unseal_suspended_archives", { by: ["project", "side"] })]],
  }),
  graph({
    title: "Jobs tried again, per minute",
    normal: "near zero.",
    otherwise: "the code says why. A job that uses all its attempts becomes a dead letter.",
    unit: "count",
    width: 12,
    stacked: true,
    queries: [
      ["{{code}}", `${rate("unseal_retries_total", { labels: { layer: "job" }, by: ["code"] })} * 60 > 0`],
    ],
  }),
]

const accounts = [
  graph({
    title: "What accepted archives became",
    normal: "committed follows accepted.",
    otherwise: "the gap between them is live archives, dead letters and what was discarded.",
    unit: "count",
    width: 12,
    colors: { committed: GREEN, "dead-letters": RED },
    queries: [["{{account}}", gauge("unseal_queue_accounts", { by: ["account"] })]],
  }),
  graph({
    title: "Archives unaccounted for",
    normal: "0, always.",
    otherwise:
      "Redis lost jobs, or somebody removed them by hand. `unseal queue status --check`, then `unseal archives reconcile`.",
    runbook: ["UnsealAccountsDrift"],
    unit: "count",
    width: 12,
    limits: { bad: 1, side: "above" },
    queries: [["missing", `abs(${gauge("unseal_queue_missing")})`]],
  }),
]

export const queue = board({
  uid: UID.queue,
  title: "Unseal: queue and dead letters",
  description: "What waits, for how long and for what; what was given up, and what to do about it.",
  rows: [
    { title: "Now", panels: now },
    { title: "Dead letters", panels: given },
    { title: "Suspensions and retries", panels: held },
    { title: "Backlog", panels: [...backlog(), ...times] },
    { title: "Accounts", panels: accounts },
  ],
})
