/** Workers, their keys, stores and clocks; and whether anybody is there at all. */
import {
  type Alert,
  by,
  type Clock,
  DAY,
  type Group,
  HOUR,
  MINUTE,
  type Owner,
  risen,
  THE_PROJECT,
} from "./rule.ts"

/** The processes, each with a metric that it shows from its start on. */
const PROCESSES = [
  [
    "ingest",
    "UnsealIngestAbsent",
    "unseal_connections_cut_total",
    "Callbacks are not taken. The vendor repeats them for a while, then they are lost.",
  ],
  [
    "worker",
    "UnsealWorkersAbsent",
    "unseal_parts_in_flight",
    "Nothing is decrypted. Callbacks are taken, and archives wait.",
  ],
] as const

export function workerRules({ span, seconds }: Clock): Group {
  const requests = (outcomes: string, owner: Owner, range: string) =>
    by(
      "sum",
      `increase(unseal_store_request_seconds_count{side${owner === "vendor" ? "=" : "!="}"vendor",${outcomes}}[${range}])`,
      "side",
    )
  const failing = (owner: Owner): Alert => {
    const failed = requests('outcome=~"unavailable|other"', owner, span(5 * MINUTE))
    return {
      alert: "UnsealStoreFailing",
      ...{ severity: "warning", owner, for: span(MINUTE) },
      expr: `${failed} / ${requests('outcome!="cancelled"', owner, span(5 * MINUTE))} > 0.1\nand ${failed} > 5`,
      summary:
        owner === "vendor"
          ? "requests for the vendor's copies fail"
          : "requests to a store fail ({{ $labels.side }})",
      description: `{{ $value | humanizePercentage }} of the requests to ${owner === "vendor" ? "the vendor's copies of archives" : "stores ({{ $labels.side }})"} failed in the last five minutes. They are repeated, and archives take longer. If it gets worse, the project is suspended.`,
    }
  }
  const full = (limited: string, what: string, used: string, limit: string, remedy: string): Alert => ({
    alert: "UnsealWorkersSaturated",
    ...{ severity: "warning", owner: "deployment", for: span(30 * MINUTE) },
    labels: { limit: limited },
    expr: `${by("sum", used)} / ${by("sum", limit)} > 0.95\nand ${by("max", "unseal_queue_oldest_seconds")} > ${seconds(5 * MINUTE)}`,
    summary: `the workers have no ${what} left`,
    description: `For half an hour, archives have waited while the workers used {{ $value | humanizePercentage }} of their ${what}. ${remedy}`,
  })
  const skew = (peer: string, metric: string): Alert => ({
    alert: "UnsealClockSkew",
    ...{ severity: "warning", owner: "deployment", for: span(MINUTE) },
    labels: { peer },
    expr: `abs(${metric}) > 30`,
    summary: `the clock of {{ $labels.instance }} is wrong, or that of its ${peer}`,
    description: `The clocks of {{ $labels.instance }} and its ${peer} are {{ $value | humanizeDuration }} apart. Unseal works around it, but callbacks and waits may be judged wrongly. Synchronize both.`,
  })
  const expiry = by("min", "unseal_certificate_expiry_seconds", "key_id")
  const expires = (severity: Alert["severity"], from: number, to: number): Alert => ({
    alert: "UnsealCertificateExpires",
    ...{ severity, owner: "deployment", for: span(0) },
    expr: `${expiry} < ${to}\nand ${expiry} > ${from}`,
    summary: "a certificate expires soon",
    description:
      "The certificate of key {{ $labels.key_id }} expires in {{ $value | humanizeDuration }}. Make a new pair, give workers the key, then give the vendor the certificate (docs/rotation.md).",
  })
  return {
    name: "unseal-workers",
    rules: [
      {
        alert: "UnsealRunsStuck",
        ...{ severity: "warning", owner: "deployment", for: span(0) },
        expr: `${by("sum", `increase(unseal_runs_stuck_total[${span(30 * MINUTE)}])`)} > 0`,
        summary: "runs were aborted because nothing moved",
        description:
          'Runs aborted in the last half hour because nothing moved for ten minutes: about {{ printf "%.0f" $value }}. They are tried again, with an attempt used. The log says what they waited for.',
      },
      {
        alert: "UnsealRunIdle",
        ...{ severity: "warning", owner: "deployment", for: span(0) },
        expr: `${by("max", "unseal_run_idle_seconds")} > ${seconds(5 * MINUTE)}`,
        summary: "a run does not move",
        description:
          "A run has made no step and moved no byte for {{ $value | humanizeDuration }}. It is aborted after ten minutes, and tried again.",
      },
      {
        alert: "UnsealWorkersLost",
        ...{ severity: "warning", owner: "deployment", for: span(0) },
        expr: `${by("sum", risen("unseal_stalled_total", span(15 * MINUTE)))} > 0`,
        summary: "workers died or froze with archives in hand",
        description:
          'Archives that lost their worker in the last fifteen minutes: about {{ printf "%.0f" $value }}. Other workers go on from the parts that were written. Look for restarts, a memory limit, or a blocked event loop.',
      },
      {
        alert: "UnsealAttemptsFail",
        ...{ severity: "warning", owner: "deployment", for: span(0) },
        expr: `${by("sum", `increase(unseal_retries_total{layer="job",code=~"ERR_UNEXPECTED|ERR_OBJECT_CHANGED|ERR_UPLOAD_GONE"}[${span(15 * MINUTE)}])`, "code")} > 1`,
        summary: "runs fail and use attempts ({{ $labels.code }})",
        description:
          'Runs that failed with {{ $labels.code }} in the last fifteen minutes: about {{ printf "%.0f" $value }}. Each used one of its archive\'s attempts. docs/errors.md says what it means.',
      },
      {
        alert: "UnsealSizeDiffers",
        ...{ severity: "warning", owner: "vendor", for: span(0) },
        expr: `${by("sum", `increase(unseal_announced_size_total{outcome="differs"}[${span(HOUR)}])`)} > 0`,
        summary: "objects don't have the announced size",
        description:
          'Objects in the last hour that had another size than their callbacks announced: about {{ printf "%.0f" $value }}. They may be cut short, which decrypting does not show. The log and the records name them.',
      },
      {
        alert: "UnsealWorkerAside",
        ...{ severity: "warning", owner: "deployment", for: span(MINUTE) },
        expr: "unseal_worker_aside > 0",
        summary: `worker {{ $labels.instance }} stands aside from ${THE_PROJECT}`,
        description: `Worker {{ $labels.instance }} fails at the {{ $labels.side }} of ${THE_PROJECT}, where other workers succeed. It takes none of its archives until a look succeeds. Compare its mounts, credentials and network with the others'.`,
      },
      full(
        "slots",
        "slots",
        "unseal_slots_busy",
        "unseal_slots_limit",
        "Add workers, or raise UNSEAL_CONCURRENCY if their CPU and memory have room.",
      ),
      full(
        "memory",
        "memory",
        "unseal_memory_budget_used_bytes",
        "unseal_memory_budget_limit_bytes",
        "Add workers, or raise UNSEAL_PARTS_IN_FLIGHT and the memory limit.",
      ),
      failing("deployment"),
      failing("vendor"),
      {
        alert: "UnsealStoreLimited",
        ...{ severity: "info", owner: "deployment", for: span(10 * MINUTE) },
        expr: `${by("min", "unseal_store_requests_limit", "project", "side")} > 0`,
        summary: `the {{ $labels.side }} of ${THE_PROJECT} asks for fewer requests`,
        description:
          'The store has refused requests for their rate (503 SlowDown, 429) for ten minutes. A worker sends it at most {{ printf "%.0f" $value }} at a time. No attempt is used, and archives take longer. If it lasts, raise the store\'s limit.',
      },
      {
        alert: "UnsealKeyFilesUnusable",
        ...{ severity: "warning", owner: "deployment", for: span(MINUTE) },
        expr: `${by("max", "unseal_key_files_unusable", "project")} > 0`,
        summary: `key files of ${THE_PROJECT} can't be used`,
        description: `Files in the key directory of ${THE_PROJECT} that hold no usable key (damaged, or without their passphrase): {{ printf "%.0f" $value }}. A key that was usable before stays in use until the worker ends.`,
      },
      expires("warning", 7 * DAY, 30 * DAY),
      expires("critical", 0, 7 * DAY),
      {
        alert: "UnsealCertificateExpired",
        ...{ severity: "critical", owner: "deployment", for: span(0) },
        expr: `${expiry} <= 0`,
        summary: "a certificate has expired",
        description:
          "The certificate of key {{ $labels.key_id }} has expired. Archives under it are still decrypted, but the vendor may refuse it. If it was replaced, remove the certificate's file; keep the key.",
      },
      skew("store", "unseal_clock_skew_seconds"),
      skew("Redis", "unseal_redis_clock_skew_seconds"),
      {
        alert: "UnsealTargetDown",
        ...{ severity: "warning", owner: "deployment", for: span(MINUTE) },
        expr: `up == 0\nand on (namespace, job) group by (namespace, job) (present_over_time(unseal_build_info[${span(DAY)}]))`,
        summary: "{{ $labels.instance }} can't be scraped",
        description:
          "Prometheus gets no metrics from {{ $labels.instance }} (job {{ $labels.job }}). The process is down, frozen, or out of reach.",
      },
      ...PROCESSES.map(([process, alert, metric, then]): Alert => {
        const seen = by("max", `present_over_time(${metric}[${span(DAY)}])`)
        return {
          alert,
          ...{ severity: "critical", owner: "deployment", for: span(MINUTE) },
          expr: `(${seen} unless ${by("max", metric)})\nor absent(present_over_time(${metric}[${span(DAY)}]))`,
          summary: `no ${process} is there`,
          description: `Prometheus sees no ${process}. ${then}`,
        }
      }),
    ],
  }
}
