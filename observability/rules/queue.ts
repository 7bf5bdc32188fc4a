/** The queue: what waits, what was given up, what is held, and whether it adds up. */
import { type Alert, by, type Clock, DAY, type Group, HOUR, MINUTE, type Owner, THE_PROJECT } from "./rule.ts"

/** Codes of dead letters by whose trouble they are. */
export type DeadLetterCodes = Readonly<Record<"archive" | "deployment", readonly string[]>>

export function queueRules(clock: Clock, codes: DeadLetterCodes): Group {
  const { span, seconds } = clock
  const queue = (metric: string, ...labels: readonly string[]) => by("max", `unseal_${metric}`, ...labels)
  const unpaused = `\nunless on (namespace) ${queue("queue_paused")} > 0`
  const oldest = (severity: Alert["severity"], limit: number): Alert => ({
    alert: "UnsealOldestWait",
    ...{ severity, owner: "deployment", for: span(2 * MINUTE) },
    expr: `${queue("queue_oldest_seconds")} > ${seconds(limit)}${unpaused}`,
    summary: "archives wait for a worker",
    description:
      "The archive that has waited longest could have begun {{ $value | humanizeDuration }} ago. The workers are too few, too slow, or none of them works.",
  })
  const deadLetters = (owner: "archive" | "deployment"): Alert => ({
    alert: "UnsealDeadLetters",
    ...{ severity: "warning", owner, for: span(MINUTE) },
    expr: `${by("max", `unseal_dead_letters{code=~"${codes[owner].join("|")}"}`, "code")} > 0`,
    summary: "archives were given up ({{ $labels.code }})",
    description: `Dead letters with {{ $labels.code }}: {{ printf "%.0f" $value }}. ${
      owner === "archive" ? "Other archives are not affected." : "The cause is here, and not in the archives."
    } docs/errors.md says what to do; then redrive or discard them.`,
  })
  const suspended = (severity: Alert["severity"], after: number, owner: Owner): Alert => ({
    alert: "UnsealSuspended",
    ...{ severity, owner, for: span(0) },
    expr: `${by("max", `unseal_suspended_seconds{side${owner === "vendor" ? "=" : "!="}"vendor"}`, "project", "side")} > ${seconds(after)}`,
    summary: `${THE_PROJECT} is suspended ({{ $labels.side }})`,
    description: `The archives of ${THE_PROJECT} have been held back for {{ $value | humanizeDuration }}, because ${
      owner === "vendor"
        ? "the vendor's API, or its copies of archives, can't be used"
        : "its {{ $labels.side }} can't be used"
    }. No attempt is used, and they go on by themselves when the cause is gone. "unseal queue status" says what is wrong and whose move it is.`,
  })
  return {
    name: "unseal-queue",
    rules: [
      oldest("warning", 15 * MINUTE),
      oldest("critical", HOUR),
      {
        alert: "UnsealArchiveUnfinished",
        ...{ severity: "warning", owner: "archive", for: span(2 * MINUTE) },
        expr: `${queue("queue_oldest_unfinished_seconds")} > ${seconds(6 * HOUR)}\nunless on (namespace) ${queue("suspended")} > 0${unpaused}`,
        summary: "an archive is not finished after hours",
        description:
          "An archive was accepted {{ $value | humanizeDuration }} ago, and is neither committed nor a dead letter. Nothing is suspended. Most often its object is not at the source.",
      },
      {
        alert: "UnsealQueuePaused",
        ...{ severity: "warning", owner: "deployment", for: span(30 * MINUTE) },
        expr: `${queue("queue_paused")} > 0`,
        summary: "the queue has been paused for half an hour",
        description:
          'Somebody paused the queue. Workers begin nothing, and archives wait until "unseal queue resume".',
      },
      deadLetters("archive"),
      deadLetters("deployment"),
      suspended("warning", MINUTE, "deployment"),
      suspended("critical", 10 * MINUTE, "deployment"),
      suspended("warning", MINUTE, "vendor"),
      suspended("critical", 10 * MINUTE, "vendor"),
      {
        alert: "UnsealAccountsDrift",
        ...{ severity: "critical", owner: "deployment", for: span(2 * MINUTE) },
        // The counters stay off after the cause is gone, so an old drift is no news.
        expr: `(${queue("queue_missing")} > 0 or ${queue("queue_missing")} < 0)\nunless ${queue("queue_missing")} == ${queue(`queue_missing offset ${span(DAY)}`)}`,
        summary: "the queue's accounts don't add up",
        description:
          'Accepted archives that are neither committed, dead letters, live nor discarded: {{ printf "%.0f" $value }} (below 0: jobs that were never counted). Redis lost jobs, or somebody removed them. "unseal archives reconcile" enqueues what is missing.',
      },
      {
        alert: "UnsealQueueForgotten",
        ...{ severity: "critical", owner: "deployment", for: span(0) },
        expr: `${by("max", 'unseal_queue_accounts{account="accepted"}')} < ${by("max", `max_over_time(unseal_queue_accounts{account="accepted"}[${span(15 * MINUTE)}])`)}`,
        summary: "Redis has lost acknowledged archives",
        description:
          'The queue has accepted {{ printf "%.0f" $value }} archives, and it had accepted more a few minutes ago. Redis was emptied, lost its newest writes, or failed over to a replica without them. "unseal archives reconcile" enqueues what is missing.',
      },
      {
        alert: "UnsealQueueUnobserved",
        ...{ severity: "warning", owner: "deployment", for: span(5 * MINUTE) },
        expr: `${by("sum", "unseal_queue_observer")} == 0\nunless on (namespace) ${by("min", "unseal_redis_ok")} == 0`,
        summary: "nobody observes the queue",
        description:
          "Redis works, and no process has held the observer's lease for five minutes. So nobody shows the queue, and the other alerts about it are blind.",
      },
      {
        alert: "UnsealOpenUploads",
        ...{ severity: "warning", owner: "deployment", for: span(0) },
        expr: `${by("sum", queue('uploads_open{kind=~"young|orphan"}', "kind"))} > 20`,
        summary: "uploads are left behind",
        description:
          'The janitor\'s last sweep left {{ printf "%.0f" $value }} uploads that no job owns: too young to be judged, or spared by a dry run. The store charges for them. Workers that are killed leave some.',
      },
      {
        alert: "UnsealJanitorOverdue",
        ...{ severity: "warning", owner: "deployment", for: span(0) },
        expr: `${queue("uploads_swept_seconds")} > ${seconds(36 * HOUR)}`,
        summary: "the janitor has not run",
        description:
          "The janitor last looked for open uploads {{ $value | humanizeDuration }} ago. It ought to run once a day.",
      },
    ],
  }
}
