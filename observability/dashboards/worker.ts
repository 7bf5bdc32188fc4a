/** Jobs in, plaintext out: how busy the workers are, what they wait for, and what fails. */
import { board, UID } from "./board.ts"
import { BLUE, GREEN, graph, list, number, RED, YELLOW } from "./panels.ts"
import { gauge, increase, ofProcess, processesWith, quantile, rate, share, total } from "./promql.ts"

const ONE = { instance: "$worker" }
const BY = ["instance"]
/** Every worker shows it, and nobody else. */
const OWN = "unseal_parts_in_flight"
const process = (name: string, over?: string) =>
  ofProcess(name, OWN, { labels: ONE, ...(over !== undefined && { over }) })
const RATE = "$__rate_interval"

const now = [
  number({
    title: "Workers",
    normal: "as many as the autoscaler wants.",
    otherwise: "fewer: they crash or do not get ready. Look at their pods and logs.",
    runbook: ["UnsealWorkersAbsent"],
    unit: "count",
    width: 4,
    limits: { bad: 1, side: "below" },
    queries: [["workers", processesWith(OWN, ONE)]],
  }),
  number({
    title: "Busy slots",
    normal:
      "between 0 and 100 %. A slot is one archive at a time (UNSEAL_CONCURRENCY). Bulk archives leave a quarter free.",
    otherwise: "100 % for long while jobs wait: add workers.",
    runbook: ["UnsealWorkersSaturated"],
    unit: "share",
    width: 4,
    limits: { warn: 0.95, side: "above" },
    queries: [
      [
        "busy",
        share(gauge("unseal_slots_busy", { labels: ONE }), gauge("unseal_slots_limit", { labels: ONE })),
      ],
    ],
  }),
  number({
    title: "Memory budget in use",
    normal: "up to 100 %. It is what bounds the memory, and it may be full.",
    otherwise:
      "full while slots are free: a higher UNSEAL_PARTS_IN_FLIGHT, in a larger container, lets more parts move.",
    unit: "share",
    width: 4,
    queries: [
      [
        "used",
        share(
          gauge("unseal_memory_budget_used_bytes", { labels: ONE }),
          gauge("unseal_memory_budget_limit_bytes", { labels: ONE }),
        ),
      ],
    ],
  }),
  number({
    title: "Written",
    normal: "hundreds of MB/s for each busy worker on a good network.",
    otherwise: "see which stage takes the time, below.",
    unit: "bytes per second",
    width: 4,
    queries: [["written", rate("unseal_bytes_total", { labels: { ...ONE, direction: "written" } })]],
  }),
  number({
    title: "Longest run without progress",
    normal: "seconds.",
    otherwise:
      "after ten minutes the run is ended by itself and tried again. What it waits for is in the worker's log.",
    runbook: ["UnsealRunIdle"],
    unit: "seconds",
    width: 4,
    limits: { warn: 60, bad: 600, side: "above" },
    queries: [["idle", gauge("unseal_run_idle_seconds", { labels: ONE })]],
  }),
  number({
    title: "Runs ended as stuck",
    normal: "0 in the time range.",
    otherwise: "a store, a disk or a key directory gave no answer for minutes. The log says which.",
    runbook: ["UnsealRunsStuck"],
    unit: "count",
    width: 4,
    decimals: 0,
    line: false,
    limits: { warn: 0.5, side: "above" },
    queries: [["stuck", increase("unseal_runs_stuck_total", { labels: ONE })]],
  }),
]

const utilisation = [
  graph({
    title: "Slots: archives in hand",
    normal: "live and bulk together move below the limit.",
    otherwise: "they stay at the limit: add workers, or raise UNSEAL_CONCURRENCY if CPU and memory are free.",
    runbook: ["UnsealWorkersSaturated"],
    unit: "count",
    width: 8,
    colors: { limit: RED },
    queries: [
      ["{{lane}}", gauge("unseal_slots_busy", { labels: ONE, by: ["lane"] })],
      ["limit", gauge("unseal_slots_limit", { labels: ONE })],
    ],
  }),
  graph({
    title: "Memory budget",
    normal: "live and bulk together move below the limit.",
    otherwise: "they stay at the limit, and parts wait: see saturation.",
    unit: "bytes",
    width: 8,
    colors: { limit: RED },
    queries: [
      ["{{lane}}", gauge("unseal_memory_budget_used_bytes", { labels: ONE, by: ["lane"] })],
      ["limit", gauge("unseal_memory_budget_limit_bytes", { labels: ONE })],
    ],
  }),
  graph({
    title: "Bytes read and written",
    normal: "the two lines coincide.",
    otherwise:
      "read without written: the destination does not take parts. Neither while slots are busy: nothing moves.",
    more: UID.dependencies,
    unit: "bytes per second",
    width: 8,
    queries: [["{{direction}}", rate("unseal_bytes_total", { labels: ONE, by: ["direction"] })]],
  }),
  graph({
    title: "CPU of each worker (cores)",
    normal: "up to the container's limit.",
    otherwise: "at the limit for long: decryption waits for CPU. Add workers.",
    unit: "count",
    width: 8,
    queries: [["{{instance}}", process("process_cpu_seconds_total", RATE)]],
  }),
  graph({
    title: "Memory of each worker",
    normal: "level below the container's limit; with default settings below 256 MiB.",
    otherwise:
      "it climbs to the limit: the container is too small for the settings. docs/settings.md has the arithmetic.",
    unit: "bytes",
    width: 8,
    queries: [["{{instance}}", process("process_resident_memory_bytes")]],
  }),
  graph({
    title: "Parts in memory",
    normal: "a few for each busy slot.",
    otherwise: "zero while slots are busy: runs wait for a store or a key service.",
    unit: "count",
    width: 8,
    queries: [["{{instance}}", gauge(OWN, { labels: ONE, by: BY })]],
  }),
]

const saturation = [
  graph({
    title: "Parts that wait for memory",
    normal: "zero, or a few while everything is busy.",
    otherwise:
      "always many: the memory budget is the limit. Raise it with the container's memory, or add workers.",
    unit: "count",
    width: 8,
    queries: [["{{instance}}", gauge("unseal_memory_budget_waiting", { labels: ONE, by: BY })]],
  }),
  graph({
    title: "Lag of the event loop (99 of 100)",
    normal: "10 to 50 ms under load. 10 ms is the resolution of the measurement.",
    otherwise:
      "above a second: locks are renewed late, and archives may be lost to other workers. Give it CPU.",
    runbook: ["UnsealWorkersLost"],
    unit: "seconds",
    width: 8,
    limits: { warn: 0.5, bad: 2, side: "above" },
    queries: [["{{instance}}", process("nodejs_eventloop_lag_p99_seconds")]],
  }),
  graph({
    title: "Wait from the callback to the first start",
    normal: "seconds.",
    otherwise: "minutes: there are too few workers, or this project waits behind its own archives.",
    more: UID.queue,
    unit: "seconds",
    width: 8,
    queries: [
      ["half", `${quantile(0.5, "unseal_queue_wait_seconds", { over: "5m" })} >= 0`],
      ["95 %", `${quantile(0.95, "unseal_queue_wait_seconds", { over: "5m" })} >= 0`],
    ],
  }),
]

const errors = [
  graph({
    title: "Runs that did not commit, per minute",
    normal: "zero, apart from handed-back while workers stop.",
    otherwise:
      "worker lost: a worker died or froze, and others took its archives. lock-lost: the same, seen by itself. dead-letter: see the queue board.",
    runbook: ["UnsealWorkersLost"],
    more: UID.queue,
    unit: "count",
    width: 8,
    stacked: true,
    colors: { "dead-letter": RED, "lock-lost": YELLOW, "handed-back": BLUE },
    queries: [
      [
        "{{outcome}}",
        `${rate("unseal_archives_total", { labels: { ...ONE, outcome: ["dead-letter", "handed-back", "lock-lost"] }, by: ["outcome"] })} * 60`,
      ],
      ["worker lost", `${rate("unseal_stalled_total", { labels: ONE })} * 60`],
    ],
  }),
  graph({
    title: "Retries, per minute",
    normal: "near zero. A few requests are repeated on any network.",
    otherwise:
      "request: a store or a key service has trouble. job: an archive is tried again from its checkpoint.",
    runbook: ["UnsealAttemptsFail"],
    more: UID.dependencies,
    unit: "count",
    width: 8,
    stacked: true,
    queries: [
      [
        "{{layer}} {{code}}",
        `${rate("unseal_retries_total", { labels: ONE, by: ["layer", "code"] })} * 60 > 0`,
      ],
    ],
  }),
  list({
    title: "Workers that stand aside",
    normal: "empty.",
    otherwise:
      "this one worker fails where others succeed, so it takes no archives of that project. It has its own trouble: network, DNS, clock, a mount. Restart or replace it.",
    runbook: ["UnsealWorkerAside"],
    unit: "count",
    width: 8,
    none: "no worker stands aside",
    queries: [["aside", gauge("unseal_worker_aside", { labels: ONE, by: ["instance", "project", "side"] })]],
    columns: {
      instance: { title: "Worker" },
      project: { title: "Project", opens: [UID.project, "project"] },
      side: { title: "Side", width: 110 },
    },
  }),
]

const STAGES = { colors: { read: BLUE, decrypt: GREEN, write: YELLOW } }

const stages = [
  graph({
    title: "Where the time goes: parts in each stage",
    normal: "read and write share it, and decrypt is small.",
    otherwise: "read: the source is slow. write: the destination is slow. decrypt: CPU is short.",
    more: UID.dependencies,
    unit: "count",
    width: 8,
    stacked: true,
    ...STAGES,
    queries: [["{{stage}}", total("unseal_part_seconds", { labels: ONE, by: ["stage"] })]],
  }),
  graph({
    title: "Time of a part, by stage (95 of 100)",
    normal: "a part of 8 MiB is read and written in well under a second near the store.",
    otherwise: "the stage that rises is the slow one.",
    more: UID.dependencies,
    unit: "seconds",
    width: 8,
    ...STAGES,
    queries: [["{{stage}}", `${quantile(0.95, "unseal_part_seconds", { labels: ONE, by: ["stage"] })} >= 0`]],
  }),
  graph({
    title: "Time of a run that commits",
    normal: "size divided by throughput.",
    otherwise: "it rises without larger archives: see the stages.",
    unit: "seconds",
    width: 8,
    queries: [
      ["half", `${quantile(0.5, "unseal_archive_seconds", { labels: ONE, over: "5m" })} >= 0`],
      ["95 %", `${quantile(0.95, "unseal_archive_seconds", { labels: ONE, over: "5m" })} >= 0`],
    ],
  }),
]

export const worker = board({
  uid: UID.worker,
  title: "Unseal: workers",
  description: "How busy the workers are, what they wait for, what fails, and where the time goes.",
  choices: [{ name: "worker", title: "Worker", from: [OWN, "instance"], several: true }],
  rows: [
    { title: "Now", panels: now },
    { title: "Utilisation", panels: utilisation },
    { title: "Saturation", panels: saturation },
    { title: "Errors", panels: errors },
    { title: "Stages of a part", panels: stages },
  ],
})
