/** Callbacks in, jobs out: rate, errors, duration. */
import { board, UID } from "./board.ts"
import { ACKNOWLEDGED, ACKNOWLEDGED_SHARE, acknowledged, OWN_FAULT } from "./objectives.ts"
import { GREEN, graph, number, RED, YELLOW } from "./panels.ts"
import { gauge, increase, ofProcess, processesWith, quantile, rate } from "./promql.ts"

const INSTANCE = { instance: "$ingest" }
const SENDERS_FAULT = ["invalid", "unauthenticated", "too-large", "unsupported", "unsigned", "aborted"]

const perMinute = (outcomes: readonly string[]) =>
  `${rate("unseal_callbacks_total", { labels: { ...INSTANCE, outcome: outcomes }, by: ["outcome"] })} * 60`

const quick = { ...INSTANCE, outcome: ACKNOWLEDGED }

export const ingest = board({
  uid: UID.ingest,
  title: "Unseal: ingest",
  description: "Callbacks in, jobs out: their rate, their errors, their duration.",
  choices: [
    { name: "ingest", title: "Ingest", from: ["unseal_connections_cut_total", "instance"], several: true },
  ],
  rows: [
    {
      title: "Now",
      panels: [
        number({
          title: "Acknowledged",
          normal: `${ACKNOWLEDGED_SHARE * 100} % or more of the time range, apart from the sender's own faults.`,
          otherwise: "the errors below say why.",
          runbook: ["UnsealCallbackObjective"],
          unit: "share",
          width: 4,
          decimals: 2,
          line: false,
          limits: { warn: 1 - (1 - ACKNOWLEDGED_SHARE) / 2, bad: ACKNOWLEDGED_SHARE, side: "below" },
          none: "no callbacks",
          queries: [["acknowledged", acknowledged(INSTANCE)]],
        }),
        number({
          title: "99 of 100 answered within",
          normal: "below 100 ms. It is the time of one write to Redis.",
          otherwise: "Redis is slow or far away: see Redis on the dependencies board.",
          more: UID.dependencies,
          unit: "seconds",
          width: 4,
          limits: { warn: 0.25, bad: 1, side: "above" },
          none: "no callbacks",
          queries: [["99 %", `${quantile(0.99, "unseal_callback_seconds", { labels: quick })} >= 0`]],
        }),
        number({
          title: "Ingests",
          normal: "two or more.",
          otherwise: "with one, a restart loses callbacks until the vendor sends them again.",
          runbook: ["UnsealIngestAbsent"],
          unit: "count",
          width: 4,
          limits: { bad: 1, side: "below" },
          queries: [["ingests", processesWith("unseal_connections_cut_total")]],
        }),
        number({
          title: "Open connections",
          normal: "tens.",
          otherwise: "hundreds: a flood, or a sender that never closes. See what is cut below.",
          unit: "count",
          width: 4,
          queries: [["connections", gauge("unseal_connections", { labels: INSTANCE })]],
        }),
        number({
          title: "Projects",
          normal: "as many as are in the projects file.",
          otherwise: "fewer: the file was shortened, or an ingest still has the earlier one.",
          unit: "count",
          width: 4,
          queries: [["projects", gauge("unseal_projects", { labels: INSTANCE })]],
        }),
        number({
          title: "Projects file",
          normal: "good.",
          otherwise:
            "it can't be used, so the earlier projects stay in effect. The log of the process names the line.",
          runbook: ["UnsealProjectsFileInvalid"],
          unit: "count",
          width: 4,
          limits: { bad: 1, side: "above" },
          words: { "0": ["good", GREEN], "1": ["INVALID", RED] },
          queries: [["file", gauge("unseal_projects_file_invalid", { labels: INSTANCE })]],
        }),
      ],
    },
    {
      title: "Rate",
      panels: [
        graph({
          title: "Callbacks acknowledged, per minute",
          normal:
            "enqueued follows your recordings. The vendor sends several callbacks for an archive: ignored are other states of it, duplicate are repetitions.",
          otherwise: "many duplicates: the vendor does not get our answers in time.",
          unit: "count",
          width: 12,
          stacked: true,
          colors: { enqueued: GREEN },
          queries: [["{{outcome}}", perMinute(ACKNOWLEDGED)]],
        }),
        graph({
          title: "Callbacks by project, per minute (the ten busiest)",
          normal: "your usual projects in their usual order.",
          otherwise: "unknown: somebody calls back for a project that is not configured here.",
          more: UID.project,
          unit: "count",
          width: 12,
          queries: [
            [
              "{{project}}",
              `topk(10, ${rate("unseal_callbacks_total", { labels: INSTANCE, by: ["project"] })} * 60)`,
            ],
          ],
        }),
      ],
    },
    {
      title: "Errors",
      panels: [
        graph({
          title: "Refused for our own fault, per minute",
          normal: "zero; a few draining while an ingest stops.",
          otherwise:
            "unavailable: Redis did not store in time. clock: this machine's clock is wrong. failed: a fault in Unseal, its log has the error. The vendor sends these again.",
          runbook: ["UnsealIngestRefusing"],
          more: UID.dependencies,
          unit: "count",
          width: 8,
          stacked: true,
          colors: { failed: RED, unavailable: YELLOW },
          queries: [["{{outcome}}", perMinute(OWN_FAULT)]],
        }),
        graph({
          title: "Refused for the sender's fault, per minute",
          normal: "near zero.",
          otherwise:
            "unauthenticated: a wrong secret, an unknown project, or a stranger. unsigned: secure callbacks are off in the vendor's dashboard. invalid: not a callback. The log names the reason.",
          runbook: ["UnsealCallbacksUnauthentic"],
          unit: "count",
          width: 8,
          stacked: true,
          queries: [["{{outcome}}", perMinute(SENDERS_FAULT)]],
        }),
        graph({
          title: "Connections cut, per minute",
          normal: "near zero.",
          otherwise:
            "network: from outside UNSEAL_CALLBACK_NETWORKS. full or address: too many at once. slow or malformed: not the vendor.",
          unit: "count",
          width: 8,
          stacked: true,
          queries: [
            [
              "{{reason}}",
              `${rate("unseal_connections_cut_total", { labels: INSTANCE, by: ["reason"] })} * 60`,
            ],
          ],
        }),
      ],
    },
    {
      title: "Duration",
      panels: [
        graph({
          title: "Time to acknowledge a callback",
          normal: "milliseconds to tens of milliseconds.",
          otherwise: "all rise together: Redis. Only 99 % rises: a busy event loop, see below.",
          more: UID.dependencies,
          unit: "seconds",
          width: 8,
          limits: { warn: 1, side: "above" },
          queries: [
            ["half", `${quantile(0.5, "unseal_callback_seconds", { labels: quick })} >= 0`],
            ["95 %", `${quantile(0.95, "unseal_callback_seconds", { labels: quick })} >= 0`],
            ["99 %", `${quantile(0.99, "unseal_callback_seconds", { labels: quick })} >= 0`],
          ],
        }),
        graph({
          title: "Time of a write to Redis, as ingest sees it (99 of 100)",
          normal: "a few milliseconds with `appendfsync always`.",
          otherwise: "one instance only: its network. All: Redis, or its disk.",
          runbook: ["UnsealRedisUnavailable"],
          more: UID.dependencies,
          unit: "seconds",
          width: 8,
          queries: [
            [
              "{{instance}}",
              `${quantile(0.99, "unseal_redis_write_seconds", { labels: INSTANCE, by: ["job", "instance"] })} and on (job, instance) ${gauge("unseal_connections", { by: ["job", "instance"] })}`,
            ],
          ],
        }),
        graph({
          title: "Lag of the event loop (99 of 100)",
          normal: "10 to 30 ms, which is the resolution of the measurement.",
          otherwise: "an ingest without CPU: raise its requests, or add one.",
          unit: "seconds",
          width: 8,
          queries: [
            [
              "{{instance}}",
              ofProcess("nodejs_eventloop_lag_p99_seconds", "unseal_connections", { labels: INSTANCE }),
            ],
          ],
        }),
      ],
    },
    {
      title: "Processes",
      panels: [
        graph({
          title: "CPU of each ingest (cores)",
          normal: "a tenth of a core.",
          otherwise: "near one core: it is at its limit, so add one.",
          unit: "count",
          width: 8,
          queries: [
            [
              "{{instance}}",
              ofProcess("process_cpu_seconds_total", "unseal_connections", {
                labels: INSTANCE,
                over: "$__rate_interval",
              }),
            ],
          ],
        }),
        graph({
          title: "Memory of each ingest",
          normal: "level, below the container's limit.",
          otherwise: "it rises for hours: report it, with this graph.",
          unit: "bytes",
          width: 8,
          queries: [
            [
              "{{instance}}",
              ofProcess("process_resident_memory_bytes", "unseal_connections", { labels: INSTANCE }),
            ],
          ],
        }),
        graph({
          title: "Changes to the projects file",
          normal: "one for each of your changes.",
          otherwise: "invalid: the change was not taken; the log names the line.",
          runbook: ["UnsealProjectsFileInvalid"],
          unit: "count",
          width: 8,
          colors: { invalid: RED },
          queries: [
            [
              "{{outcome}}",
              increase("unseal_projects_reloads_total", {
                labels: INSTANCE,
                by: ["outcome"],
                over: "$__rate_interval",
              }),
            ],
          ],
        }),
      ],
    },
  ],
})
