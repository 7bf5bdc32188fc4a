/** `docs/logs.md`: every event that a process logs. A test compares it with the code, and another with running processes. */
import { code, generated, table } from "./markdown.ts"

type Process = "ingest" | "worker" | "console" | "simulator"

export interface LogEvent {
  /** As in the code, where `…` stands for what the code fills in. */
  readonly msg: string
  readonly level: string
  readonly by: readonly Process[]
  readonly fields: readonly string[]
}

const ALL: readonly Process[] = ["ingest", "worker", "console", "simulator"]
const SERVERS: readonly Process[] = ["ingest", "worker"]
const WITH_REDIS: readonly Process[] = [...SERVERS, "console"]
const of = (
  level: string,
  by: readonly Process[],
  events: Readonly<Record<string, readonly string[]>>,
): LogEvent[] => Object.entries(events).map(([msg, fields]) => ({ msg, level, by, fields }))

const JOB = ["jobId", "projectId", "archiveId", "traceId", "attempt"] as const
const RUN = [...JOB, "seconds"] as const
const FAILED = [...RUN, "code", "kind", "owner", "meaning", "remedy", "reason", "err"] as const
const RESULT = ["outcome", "destinationKey", "size", "tail", "syncErrors", "announcedSize"] as const
const CALLBACK = [
  "projectId",
  "archiveId",
  "jobId",
  "traceId",
  "status",
  "outcome",
  "duration",
  "peer",
] as const
const REFUSED = [...CALLBACK, "reason", "finding", "errors", "hint", "err"] as const
/** Of the queue's own errors, by class: the first at once, repetitions every 5 s. */
const TROUBLE = ["err", "class"] as const
const FOUND = ["source", "destination", "sourceKeys", "destinationKey", "keys", "tail"] as const
const RECORDED = ["projectId", "archiveId", "size", "status"] as const

export const LOG_EVENTS: readonly LogEvent[] = [
  ...of("info", ALL, { listening: ["ports"], stopping: ["signal"], stopped: [] }),
  ...of("fatal", ALL, {
    "start failed": ["err"],
    "stop failed": ["err"],
    "killed by a second signal": ["err"],
    "uncaught exception": ["err"],
    "unhandled rejection": ["err"],
  }),
  ...of("fatal or warn", SERVERS, { "redis may lose jobs": ["problem", "err"] }),
  ...of("warn", ALL, { "a library printed a warning": ["text", "err"] }),
  ...of("info", WITH_REDIS, { "redis connected": ["role"] }),
  ...of("info", SERVERS, {
    "redis takes work again": ["seconds"],
    "projects reloaded": ["added", "removed", "changed"],
  }),
  ...of("warn", SERVERS, {
    "redis takes no work; everything waits for it": ["reason"],
    "redis does not say whether it keeps what it has acknowledged": ["err"],
    "redis does not say how full it is: this user may not call INFO": ["reason"],
  }),
  ...of("error", WITH_REDIS, {
    "redis connection failed": ["err", "role", "class"],
    "admin request failed": ["err", "path"],
  }),
  ...of("error", SERVERS, {
    "queue connection failed": TROUBLE,
    "projects file can't be used: the projects stay as they were": ["problem"],
    "projects could not be read again: they stay as they were": ["err"],
  }),
  ...of("warn", SERVERS, {
    "a setting of opentelemetry can't be used": ["warning"],
    "opentelemetry printed a warning": ["text"],
    "spans are lost": ["lost", "reason", "err"],
  }),
  ...of("info", SERVERS, { "spans are exported again": ["lost"] }),
  ...of("info", ["ingest"], { callback: [...CALLBACK, "reason", "of", "since"] }),
  ...of("warn", ["ingest"], {
    "callback refused": REFUSED,
    "callback aborted": REFUSED,
    "connection cut": ["reason", "peer"],
  }),
  ...of("warn", ["ingest", "console"], {
    "request refused": [
      ...["outcome", "reason", "finding", "errors", "method", "status", "peer", "hint", "err"],
    ],
  }),
  ...of("error", ["ingest"], { "callback failed": REFUSED }),
  ...of("info", ["worker"], {
    "project is set up": ["projectId", ...FOUND],
    "too many projects to look at each now: a project's stores and keys are opened with its first archive": [
      "projects",
      "mostLookedAt",
    ],
    "archive started": [...JOB, "starts"],
    "archive committed": [...RUN, ...RESULT, "megabytesPerSecond"],
    "archive handed back": RUN,
    "archive's object is not there yet": [...FAILED, "waitedMs", "delayMs"],
    "archive's object does not have the announced size yet": [...FAILED, "waitedMs", "delayMs"],
    "archive's object is in an archival storage class": [...FAILED, "waitedMs", "delayMs"],
    "archive waits: its project is suspended": [...RUN, "code", "side", "reason"],
    "suspension ended: the project's archives go on": [
      ...["projectId", "side", "code", "seconds", "failedProbes", "byHand"],
    ],
    "this worker takes the project's archives again": ["projectId", "side", "code", "seconds", "failedLooks"],
    "a job that may end its worker runs alone: no other is taken meanwhile": [
      "jobId",
      "projectId",
      "archiveId",
    ],
  }),
  ...of("info", ["worker"], {
    "backfill is fed by this process": ["backfill"],
    "backfill has ended": ["backfill", "outcomes"],
  }),
  ...of("warn", ["worker"], { "backfill does not go on": ["backfill", "reason", "err"] }),
  ...of("debug", ["worker"], { "archive started again": [...JOB, "starts"] }),
  ...of("warn", ["worker"], {
    "project is not set up: its archives will wait": ["projectId", ...FOUND, "problems"],
    "archive failed and will be tried again": FAILED,
    "archive's size is not the one that its callback announced": [
      ...[...JOB, "starts", "announcedSize", "sourceSize"],
    ],
    "archive's lock was lost: another run has it": [...RUN, "err"],
    "project suspended: its archives wait until a probe succeeds": [
      ...["projectId", "side", "code", "reason", "remedy", "err"],
    ],
    "this worker stands aside from the project: others succeed where it fails": [
      ...["projectId", "side", "code", "reason", "remedy", "nextLookSeconds"],
    ],
    "checkpoint is damaged: starting over": ["jobId", "projectId", "archiveId", "err"],
    "the event loop was blocked for longer than a lock lasts": ["blockedMs", "jobIds"],
    "key file can't be used": ["keys", "file", "err"],
    "… could not be closed": ["err"],
  }),
  ...of("error", ["worker"], {
    "archive is a dead letter": FAILED,
    "archive is stuck: its run is ended": ["jobId", "projectId", "archiveId", "code", "err"],
    "credentials for the vendor's API could not be read: they stay as they were": ["err"],
    "job could not be moved": TROUBLE,
    "lock renewal failed": TROUBLE,
    "observer failed": TROUBLE,
    "queue failed": TROUBLE,
    "queue connections were cut": TROUBLE,
    "a freeze was not noted": TROUBLE,
    "a job's freezes could not be read": TROUBLE,
    "checkpoint was not removed; it expires by itself": TROUBLE,
    "suspended archives could not be moved": TROUBLE,
    "could not look up whether a job's project is suspended": TROUBLE,
    "a suspension could not be told how a run ended": TROUBLE,
    "suspensions could not be read": TROUBLE,
  }),
  ...of("info", ["console"], {
    "signed in": ["user", "role", "peer"],
    "signed out": ["user"],
    "operator's action begins": [
      ...["action", "actionId", "user", "count", "code", "projectId", "jobIds", "side"],
    ],
    "operator's action is done": ["action", "actionId", "user", "done", "refused"],
  }),
  ...of("warn", ["console"], {
    "operator's action was stopped": ["action", "actionId", "user", "done", "refused"],
    "operator's action failed": ["action", "actionId", "user", "done", "refused", "err"],
    "sign-in refused": ["outcome", "peer"],
    "passwords travel unencrypted unless the console is reached through loopback": ["hint"],
  }),
  ...of("error", ["console"], {
    "file of users can't be used: the users stay as they were": ["problems"],
    "page failed": ["method", "status", "reason", "peer", "err"],
  }),
  ...of("info", ["simulator"], {
    "archive recorded": RECORDED,
    "callback lost, as the bad day demands": ["projectId", "archiveId", "status", "attempts"],
  }),
  ...of("debug", ["simulator"], { "callback accepted": ["projectId", "archiveId", "status", "attempts"] }),
  ...of("warn", ["simulator"], {
    "callback not accepted: it is sent again until it is accepted; check SIMULATOR_CALLBACK_URL, and ingest":
      [...["projectId", "archiveId", "status", "answer", "retryInSeconds"]],
    "callback given up: it was not accepted": ["projectId", "archiveId", "status", "attempts", "lastAnswer"],
  }),
  ...of("error", ["simulator"], { "archive could not be uploaded": [...RECORDED, "err"] }),
]

/** Fields that any line may have. */
export const COMMON_FIELDS = ["level", "time", "name", "version", "msg", "suppressed"]

/** Fields that need more than their name. */
const MEANINGS: readonly (readonly [field: string, meaning: string])[] = [
  ["level", "`trace`, `debug`, `info`, `warn`, `error` or `fatal`"],
  ["time", "ISO 8601, UTC"],
  ["name, version", "the process, and its version"],
  ["archiveId, projectId, jobId", "what the line is about"],
  ["code", "an [error code](errors.md)"],
  ["traceId", "the trace of the callback, if its sender or ingest has begun one: 32 hex digits"],
  ["seconds, duration", "how long it took, in seconds"],
  [
    "attempt, starts",
    "which attempt this is, and how many runs have begun; waiting and hand-backs use no attempt",
  ],
  ["reason", "what happened, as one clause"],
  ["remedy, hint", "whose move it is, and what that move is"],
  ["side", "`source`, `destination`, `keys` or `vendor`"],
  ["err", "type, code, message, stack and causes of an error, without secrets"],
  ["class", "the kind of error; repetitions of one kind are left out"],
  ["peer", "the address of a callback's sender"],
  ["suppressed", "how many like this line were left out before it, because there were too many"],
]

export function logsDocument(): string {
  const rows = LOG_EVENTS.map(({ msg, level, by, fields }) => [
    code(msg),
    level,
    by.join(", "),
    fields.length === 0 ? "–" : fields.map(code).join(", "),
  ])
  return generated(
    "Logs",
    "Each event is one line on standard output. `LOG_LEVEL` sets the lowest level that is logged, and `LOG_FORMAT` sets the form: `json`, one object per line, or `text`, for people. Unset, it is text if standard output is a terminal, and JSON otherwise, as in a container. Text has the same fields without `version`; errors and their causes follow on lines of their own.",
    "Passwords (encrypted ones as well), keys, tokens and the queries of URLs are never logged. Fields with such names are `[redacted]` in both forms.",
    "To follow one archive through all processes, look for its `archiveId`. Events that could come by the thousand are limited: a line after a gap says in `suppressed` how many were left out.",
    "## Fields",
    "A field is there when its value is known.",
    table(
      ["field", "meaning"],
      MEANINGS.map(([field, meaning]) => [field.split(", ").map(code).join(", "), meaning]),
    ),
    "## Events",
    "A worker also logs what it learns about a store (fields `store`, `notice`) and about a key file (`keys`, `file`). The `msg` of these lines varies.",
    table(["msg", "level", "process", "fields"], rows),
  )
}
