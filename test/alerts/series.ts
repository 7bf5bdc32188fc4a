/** Series as promtool reads them, from what they do in each phase of a test. */

/** What a series does in one phase: a value that stays, a rate per minute, or nothing. */
export type Course = { readonly value: number } | { readonly perMinute: number } | "missing"

export const stays = (value: number): Course => ({ value })
export const grows = (perMinute: number): Course => ({ perMinute })

/** promtool's notation for the `phases` of a series, each with its length in steps of `stepMinutes`. */
export function notation(phases: readonly (readonly [Course, steps: number])[], stepMinutes: number): string {
  let last = 0
  return phases
    .filter(([, steps]) => steps > 0)
    .map(([course, steps]) => {
      if (course === "missing") return `_x${steps}`
      const by = "value" in course ? 0 : course.perMinute * stepMinutes
      const first = "value" in course ? course.value : last + by
      last = first + by * (steps - 1)
      return `${first}+${by}x${steps - 1}`
    })
    .join(" ")
}

const INGEST = 'job="ingest",instance="ingest-1:9090"'
const WORKERS = ["worker-1:9091", "worker-2:9091"].map((instance) => `job="worker",instance="${instance}"`)
/** The one that observes the queue. */
const [OBSERVER, OTHER] = WORKERS as [string, string]

type Healthy = readonly (readonly [name: string, labels: string, course: Course])[]

const onEach = (instances: readonly string[], series: Healthy): [string, Course][] =>
  instances.flatMap((instance) =>
    series.map(([name, labels, course]): [string, Course] => [
      `${name}{${[instance, labels].filter(Boolean).join(",")}}`,
      course,
    ]),
  )

const answers = (outcome: string, perMinute: number): Healthy => [
  ["unseal_callbacks_total", `project="123456",outcome="${outcome}"`, grows(perMinute)],
  ["unseal_callback_seconds_count", `outcome="${outcome}"`, grows(perMinute)],
  ["unseal_callback_seconds_bucket", `outcome="${outcome}",le="2.5"`, grows(perMinute)],
]
const ended = (outcome: string, perMinute: number): Healthy => [
  ["unseal_archive_end_to_end_seconds_count", `outcome="${outcome}"`, grows(perMinute)],
  ["unseal_archive_end_to_end_seconds_bucket", `outcome="${outcome}",le="3600"`, grows(perMinute)],
]

/** A deployment in which all is well, by series. */
export const HEALTHY: ReadonlyMap<string, Course> = new Map([
  ...onEach(
    [INGEST, ...WORKERS],
    [
      ["up", "", stays(1)],
      ["unseal_build_info", 'version="0.1.0"', stays(1)],
      ["unseal_projects_file_invalid", "", stays(0)],
      ["unseal_redis_ok", "", stays(1)],
      ["unseal_redis_clock_skew_seconds", "", stays(0.1)],
    ],
  ),
  ...onEach(
    [INGEST],
    [
      ["unseal_connections_cut_total", 'reason="slow"', stays(0)],
      ...answers("enqueued", 10),
      ...answers("duplicate", 1),
      ...["ignored", "unavailable", "failed", "clock", "draining", "unauthenticated", "unsigned"].flatMap(
        (outcome) => answers(outcome, 0),
      ),
      ["unseal_queue_observer", "", stays(0)],
    ],
  ),
  ...onEach(WORKERS, [
    ["unseal_parts_in_flight", "", stays(3)],
    ["unseal_runs_stuck_total", "", stays(0)],
    ["unseal_run_idle_seconds", "", stays(2)],
    ["unseal_stalled_total", "", stays(0)],
    ["unseal_retries_total", 'layer="job",code="ERR_UNEXPECTED"', stays(0)],
    ["unseal_announced_size_total", 'outcome="differs"', stays(0)],
    ["unseal_announced_size_total", 'outcome="fits"', grows(5)],
    ["unseal_slots_busy", 'lane="live"', stays(4)],
    ["unseal_slots_limit", "", stays(8)],
    ["unseal_memory_budget_used_bytes", 'lane="live"', stays(20e6)],
    ["unseal_memory_budget_limit_bytes", "", stays(40e6)],
    ["unseal_store_request_seconds_count", 'side="source",operation="read",outcome="ok"', grows(50)],
    ["unseal_store_request_seconds_count", 'side="destination",operation="write",outcome="ok"', grows(50)],
    ["unseal_store_request_seconds_count", 'side="vendor",operation="read",outcome="ok"', grows(2)],
    ["unseal_key_files_unusable", 'project="123456"', stays(0)],
    ["unseal_certificate_expiry_seconds", 'key_id="ab12"', stays(400 * 86_400)],
    ["unseal_clock_skew_seconds", "", stays(0)],
    ...ended("committed", 5),
    ...ended("empty", 0),
    ...ended("dead-letter", 0),
  ]),
  ...onEach(
    [OBSERVER],
    [
      ["unseal_queue_observer", "", stays(1)],
      ["unseal_queue_oldest_seconds", "", stays(20)],
      ["unseal_queue_oldest_unfinished_seconds", "", stays(60)],
      ["unseal_queue_paused", "", stays(0)],
      ["unseal_queue_missing", "", stays(0)],
      ["unseal_queue_accounts", 'account="accepted"', grows(10)],
      ["unseal_queue_bytes", "", stays(100e6)],
      ["unseal_dead_letters", 'code="ERR_NOT_MPEG_TS"', stays(0)],
      ["unseal_dead_letters", 'code="ERR_STORE_DENIED"', stays(0)],
      ["unseal_uploads_open", 'kind="orphan"', stays(0)],
      ["unseal_uploads_open", 'kind="young"', stays(5)],
      ["unseal_uploads_swept_seconds", "", stays(3_600)],
      ["unseal_redis_memory_limit_bytes", "", stays(1e9)],
      ["unseal_redis_persistence_ok", 'write="aof-write"', stays(1)],
      ["unseal_redis_durable", 'guarantee="fsync-always"', stays(1)],
      ["unseal_redis_replicas", "", stays(2)],
      ["unseal_redis_uptime_seconds", "", grows(60)],
    ],
  ),
  ...onEach([OTHER], [["unseal_queue_observer", "", stays(0)]]),
])

/**
 * The healthy series whose name contains `part`, with the other labels in their order; if there is none, `part` is a whole name.
 */
export function seriesNamed(part: string): string {
  if (part.endsWith("}")) return part
  const [name, labels = ""] = part.split("{")
  const found = [...HEALTHY.keys()].find((series) => series.startsWith(`${name}{`) && series.includes(labels))
  if (found === undefined) throw new Error(`no healthy series is ${part}`)
  return found
}

/** The whole name of a series on the first worker. */
export const onWorker = (metric: string, labels: string): string => `${metric}{${WORKERS[0]},${labels}}`
onWorker.instance = "worker-1:9091"
