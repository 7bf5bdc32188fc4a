/** The board that is open first: whether Unseal keeps its promises, and if not, whose move it is. */
import { backlog } from "./backlog.ts"
import { board, UID } from "./board.ts"
import {
  ACKNOWLEDGED_SECONDS,
  ACKNOWLEDGED_SHARE,
  acknowledged,
  IN_TIME_SECONDS,
  IN_TIME_SHARE,
  inTime,
} from "./objectives.ts"
import { GREEN, graph, list, number, RED, YELLOW } from "./panels.ts"
import { gauge, orZero, processesWith, rate, share } from "./promql.ts"
import { deadLetters, suspensions } from "./shared.ts"

const promises = [
  number({
    title: "Callbacks acknowledged",
    normal: `${ACKNOWLEDGED_SHARE * 100} % or more, within ${ACKNOWLEDGED_SECONDS} s, in the time range above. What the sender did wrong does not count.`,
    otherwise:
      "the vendor's callbacks are refused, or answered late, because of this deployment: Redis, a restart, a clock. The vendor tries again a few times; `unseal archives reconcile` finds what it gives up.",
    runbook: ["UnsealCallbackObjective"],
    more: UID.ingest,
    unit: "share",
    width: 4,
    decimals: 2,
    line: false,
    limits: { warn: 1 - (1 - ACKNOWLEDGED_SHARE) / 2, bad: ACKNOWLEDGED_SHARE, side: "below" },
    none: "no callbacks",
    queries: [["acknowledged", acknowledged()]],
  }),
  number({
    title: "Archives decrypted in time",
    normal: `${IN_TIME_SHARE * 100} % or more within ${IN_TIME_SECONDS / 3_600} hour of their callbacks, in the time range above. Dead letters count as too late.`,
    otherwise:
      "look at what is suspended first, then at dead letters, then at the backlog: too few workers, or a slow store.",
    runbook: ["UnsealArchiveObjective"],
    more: UID.queue,
    unit: "share",
    width: 4,
    decimals: 2,
    line: false,
    limits: { warn: 1 - (1 - IN_TIME_SHARE) / 2, bad: IN_TIME_SHARE, side: "below" },
    none: "no archives",
    queries: [["in time", inTime()]],
  }),
  number({
    title: "Oldest unfinished archive",
    normal: "minutes. An archive that waits for its object, or in a suspension, counts too.",
    otherwise: "the queue board tells which state it is in: waiting, delayed or suspended.",
    runbook: ["UnsealArchiveUnfinished", "UnsealOldestWait"],
    more: UID.queue,
    unit: "seconds",
    width: 4,
    limits: { warn: IN_TIME_SECONDS / 4, bad: IN_TIME_SECONDS, side: "above" },
    queries: [["oldest", gauge("unseal_queue_oldest_unfinished_seconds")]],
  }),
  number({
    title: "Suspended (project and side)",
    normal: "0.",
    otherwise: "the table below says whose move it is.",
    runbook: ["UnsealSuspended"],
    more: UID.dependencies,
    unit: "count",
    width: 4,
    limits: { warn: 1, side: "above" },
    queries: [["suspended", orZero(`count(${gauge("unseal_suspended", { by: ["project", "side"] })})`)]],
  }),
  number({
    title: "Dead letters",
    normal: "0.",
    otherwise: "the table below says what to do about each code.",
    runbook: ["UnsealDeadLetters"],
    more: UID.queue,
    unit: "count",
    width: 4,
    limits: { warn: 1, bad: 10, side: "above" },
    queries: [["dead letters", gauge("unseal_queue_jobs", { labels: { state: "failed" } })]],
  }),
  number({
    title: "Archives unaccounted for",
    normal: "0, always.",
    otherwise:
      "Redis lost jobs, or somebody removed them by hand. `unseal queue status --check` has the figures. `unseal archives reconcile` finds what is missing and enqueues it again.",
    runbook: ["UnsealAccountsDrift"],
    more: UID.queue,
    unit: "count",
    width: 4,
    limits: { bad: 1, side: "above" },
    queries: [["missing", `abs(${gauge("unseal_queue_missing")})`]],
  }),
]

const alive = [
  number({
    title: "Ingests",
    normal: "as many as you deployed. With two or more, a restart loses no callback.",
    otherwise:
      "none: the vendor's callbacks are lost after its tries. Start them first; `unseal archives reconcile` finds what was missed.",
    runbook: ["UnsealIngestAbsent"],
    more: UID.ingest,
    unit: "count",
    width: 4,
    limits: { bad: 1, side: "below" },
    queries: [["ingests", orZero(processesWith("unseal_connections_cut_total"))]],
  }),
  number({
    title: "Workers",
    normal: "as many as the autoscaler wants, one or more.",
    otherwise: "none: nothing is decrypted, and nothing is lost. Callbacks are still taken.",
    runbook: ["UnsealWorkersAbsent"],
    more: UID.worker,
    unit: "count",
    width: 4,
    limits: { bad: 1, side: "below" },
    queries: [["workers", orZero(processesWith("unseal_parts_in_flight"))]],
  }),
  number({
    title: "Redis takes writes",
    normal: "yes, from every process.",
    otherwise:
      "ingest answers 503 and workers stop. Nothing that was acknowledged is lost. Look at Redis: is it up, full, failing over, or unreachable from one node?",
    runbook: ["UnsealRedisUnavailable"],
    more: UID.dependencies,
    unit: "count",
    width: 4,
    limits: { bad: 1, side: "below" },
    words: { "0": ["NO", RED], "1": ["yes", GREEN] },
    queries: [["redis", gauge("unseal_redis_ok")]],
  }),
  number({
    title: "Queue is watched",
    normal: "yes: one process measures the queue for all.",
    otherwise:
      "nobody does, so every figure about the queue is missing. It needs a process that reaches Redis. If one runs, its log says why it does not watch.",
    runbook: ["UnsealQueueUnobserved"],
    more: UID.queue,
    unit: "count",
    width: 4,
    limits: { bad: 1, side: "below" },
    words: { "0": ["NO", RED], "1": ["yes", GREEN] },
    queries: [["watched", orZero(gauge("unseal_queue_observer"))]],
  }),
  number({
    title: "Queue",
    normal: "open. Paused means that somebody ran `unseal queue pause`.",
    otherwise: "ask who paused it and why. `unseal queue resume` ends the pause.",
    runbook: ["UnsealQueuePaused"],
    more: UID.queue,
    unit: "count",
    width: 4,
    limits: { warn: 1, side: "above" },
    words: { "0": ["open", GREEN], "1": ["PAUSED", YELLOW] },
    queries: [["paused", gauge("unseal_queue_paused")]],
  }),
  number({
    title: "Last callback",
    normal: "seconds to hours ago: as often as you record.",
    otherwise:
      "if you do record, callbacks do not arrive: the URL in the vendor's dashboard, DNS, the certificate, the load balancer. `unseal archives reconcile` finds what was missed.",
    runbook: ["UnsealCallbacksAbsent"],
    more: UID.ingest,
    unit: "seconds",
    width: 4,
    none: "none yet",
    queries: [["ago", gauge("unseal_last_callback_seconds")]],
  }),
]

const flow = [
  graph({
    title: "Archives that ended, per minute",
    normal: "committed follows the vendor's recordings; the rest is near zero.",
    otherwise:
      "dead-letter: see the table above. handed-back: workers stop or are scaled in. lock-lost: workers freeze, or Redis is slow.",
    more: UID.queue,
    unit: "count",
    width: 8,
    stacked: true,
    colors: { committed: GREEN, "dead-letter": RED, "lock-lost": YELLOW },
    queries: [["{{outcome}}", `${rate("unseal_archives_total", { by: ["outcome"] })} * 60 > 0`]],
  }),
  graph({
    title: "Decrypted bytes",
    normal: "the lines read and written coincide.",
    otherwise:
      "flat at the top: workers, network or store are at their limit, see the worker board. Zero while jobs wait: nothing moves.",
    more: UID.worker,
    unit: "bytes per second",
    width: 8,
    queries: [["{{direction}}", rate("unseal_bytes_total", { by: ["direction"] })]],
  }),
  graph({
    title: "Archives that succeeded",
    normal: "100 %.",
    otherwise: "what is missing became a dead letter. The table above says why.",
    runbook: ["UnsealDeadLetters"],
    more: UID.queue,
    unit: "share",
    width: 8,
    max: 1,
    limits: { bad: IN_TIME_SHARE, side: "below" },
    queries: [
      [
        "committed or empty",
        share(
          rate("unseal_archives_total", {
            labels: { outcome: ["committed", "already-committed", "empty"] },
            over: "5m",
          }),
          rate("unseal_archives_total", {
            labels: { outcome: ["committed", "already-committed", "empty", "dead-letter"] },
            over: "5m",
          }),
        ),
      ],
    ],
  }),
]

const alerts = list({
  title: "Alerts that fire now",
  normal: "empty.",
  otherwise:
    "the alert's name in lower case is its section of docs/runbook.md. Take the critical ones first.",
  unit: "count",
  width: 8,
  height: 7,
  none: "no alert fires",
  queries: [
    ["alert", 'count by (alertname, severity, owner) (ALERTS{alertname=~"Unseal.*", alertstate="firing"})'],
  ],
  columns: {
    severity: { title: "Severity", width: 90 },
    alertname: { title: "Alert" },
    owner: { title: "Whose move", width: 110 },
    Value: { title: "Times", unit: "count", width: 70 },
  },
})

export const overview = board({
  uid: UID.overview,
  title: "Unseal: overview",
  description:
    "Whether Unseal keeps its promises, and if not, whose move it is. Read it from the top: red and orange first.",
  rows: [
    { title: "Promises", panels: promises },
    { title: "Is everything there?", panels: alive },
    {
      title: "Whose move is it?",
      panels: [suspensions({ width: 24, height: 6 }), deadLetters({ width: 16 }), alerts],
    },
    { title: "Flow", panels: flow },
    { title: "Backlog", panels: backlog() },
  ],
})
