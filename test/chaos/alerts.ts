/**
 * Which alerts belong to which row of the fault matrix. `chaos.ts --alerts` sees that a real Prometheus fires them, and no others;
 * the runbook's table is made from them.
 */

export interface ExpectedAlerts {
  /** These must fire. */
  readonly fire: readonly string[]
  /** These may: it depends on when the fault strikes, and for how long. */
  readonly may?: readonly string[]
  /** These may, too: they belong to how the row is set up, and not to its fault. */
  readonly setUp?: readonly string[]
  /** The row's workers live for seconds, and Prometheus may never have scraped them: what else must fire need not. */
  readonly brief?: true
  /** Whose trouble the fault is. */
  readonly owner: "archive" | "deployment" | "vendor" | "nobody"
  /** What happens, where nothing must fire. */
  readonly instead?: string
}

/** A killed worker may have been the observer, or have had requests in hand. */
const KILLED = ["UnsealQueueUnobserved", "UnsealStoreFailing"]
/** Some rows start their workers late, or none. */
const LATE_WORKERS = ["UnsealWorkersAbsent", "UnsealOldestWait"]
/** A dead letter is an archive that was not decrypted in time, if there are three. */
const MISSED = ["UnsealArchiveObjective"]
/** While Redis is away, ingest refuses, locks run out, and nobody observes. */
const WITHOUT_REDIS = [
  ...["UnsealRedisUnavailable", "UnsealIngestRefusing", "UnsealCallbackObjective", "UnsealWorkersLost"],
  ...["UnsealQueueUnobserved", "UnsealOldestWait"],
]
/** A replica that takes over may have run as long as the master. */
const FAILOVER = [...WITHOUT_REDIS, "UnsealQueueForgotten", "UnsealRedisRestarted"]
const OURS = { owner: "deployment" } as const
const NOBODYS = { owner: "nobody", fire: [] } as const
const SUSPENDED: ExpectedAlerts = { ...OURS, fire: ["UnsealSuspended"], may: ["UnsealStoreFailing"] }
/** A silent store is given up after twenty seconds, which are nearly seven minutes on the rules' clock. */
const SILENT: ExpectedAlerts = { ...SUSPENDED, setUp: ["UnsealRunIdle"] }

export const EXPECTED: Readonly<Record<string, ExpectedAlerts>> = {
  kill: { ...OURS, fire: ["UnsealWorkersLost"], may: KILLED },
  steps: { ...OURS, brief: true, fire: ["UnsealWorkersLost"], may: KILLED, setUp: LATE_WORKERS },
  sigterm: { ...NOBODYS, may: ["UnsealQueueUnobserved"], instead: "archives are handed back" },
  sigstop: { ...OURS, fire: ["UnsealWorkersLost"], may: ["UnsealTargetDown", ...KILLED] },
  block: { ...OURS, fire: ["UnsealWorkersLost"], may: ["UnsealTargetDown", ...KILLED], setUp: LATE_WORKERS },
  "lock-lost": {
    ...OURS,
    brief: true,
    fire: ["UnsealWorkersLost"],
    setUp: ["UnsealQueueUnobserved", ...LATE_WORKERS],
  },
  "two-contents": {
    ...{ owner: "archive", fire: ["UnsealDeadLetters"], may: MISSED },
    setUp: ["UnsealQueueUnobserved", ...LATE_WORKERS],
  },
  quarantine: {
    ...{ ...OURS, fire: ["UnsealWorkersLost", "UnsealDeadLetters"], may: [...KILLED, ...MISSED] },
    setUp: LATE_WORKERS,
  },
  "redis-crash": { ...OURS, fire: ["UnsealRedisRestarted"], may: WITHOUT_REDIS },
  "redis-everysec": {
    ...OURS,
    fire: ["UnsealRedisNotDurable", "UnsealRedisRestarted"],
    may: [...WITHOUT_REDIS, "UnsealQueueForgotten"],
  },
  "redis-torn": {
    ...OURS,
    fire: ["UnsealRedisNotDurable", "UnsealRedisRestarted"],
    // Half a transaction may put a committed job back in line, without its password.
    may: [...WITHOUT_REDIS, "UnsealQueueForgotten", "UnsealAccountsDrift", "UnsealDeadLetters"],
  },
  "redis-flushed": { ...OURS, fire: ["UnsealQueueForgotten"], may: ["UnsealWorkersLost"] },
  "redis-away": {
    ...{ ...OURS, fire: ["UnsealRedisUnavailable"], may: [...WITHOUT_REDIS, "UnsealRedisMemory"] },
    // At its end, everything is killed and started without Redis.
    setUp: ["UnsealIngestAbsent", ...LATE_WORKERS],
  },
  "sentinel-failover": { ...OURS, fire: ["UnsealRedisReplicas"], may: FAILOVER },
  // Its killed master is back as a replica within seconds: sooner than an alert may wait.
  "cluster-failover": {
    ...{ ...NOBODYS, may: ["UnsealRedisReplicas", ...FAILOVER] },
    instead: "a replica takes over; the reconciler enqueues what it lacked",
  },
  "store-faults": {
    ...OURS,
    fire: ["UnsealStoreFailing"],
    may: ["UnsealStoreLimited", "UnsealSuspended", "UnsealAttemptsFail", "UnsealOldestWait"],
  },
  "short-body": { ...NOBODYS, may: ["UnsealStoreFailing"], instead: "the missing bytes are fetched again" },
  // The store is well again before an alert must say so; with --alerts, each of the two was seen, and neither.
  "empty-body": {
    ...{ ...NOBODYS, may: ["UnsealSuspended", "UnsealStoreFailing"] },
    instead: "archives are held, and go on when the store answers",
  },
  midway: { ...OURS, brief: true, fire: ["UnsealWorkersLost"], may: KILLED, setUp: LATE_WORKERS },
  swapped: { ...OURS, fire: ["UnsealAttemptsFail"] },
  ambiguous: {
    ...{ ...NOBODYS, may: ["UnsealStoreFailing", "UnsealAttemptsFail", "UnsealSuspended"] },
    instead: "the run reads back what the store has",
  },
  duplicates: { ...NOBODYS, instead: "one of them becomes a job" },
  forged: { owner: "archive", fire: ["UnsealDeadLetters"], may: MISSED },
  late: { ...NOBODYS, instead: "the archive waits for its object" },
  unreadable: { owner: "archive", fire: ["UnsealDeadLetters", "UnsealSizeDiffers"], may: MISSED },
  large: { ...OURS, fire: ["UnsealWorkersLost"], may: KILLED },
  "key-rotation": { ...NOBODYS, instead: "workers read new keys" },
  "ingest-restart": {
    ...{ ...NOBODYS, may: ["UnsealIngestRefusing", "UnsealCallbackObjective"], setUp: LATE_WORKERS },
    instead: "callbacks are sent again",
  },
  "rolling-restart": { ...NOBODYS, may: ["UnsealQueueUnobserved"], instead: "archives are handed back" },
  "credentials-gone": SUSPENDED,
  "credentials-refused": SUSPENDED,
  "permissions-gone": SUSPENDED,
  "keys-away": SUSPENDED,
  "disk-full": SUSPENDED,
  "silent-store": SILENT,
  "peer-vanished": SILENT,
  "names-away": SILENT,
  "clock-wrong": { ...OURS, fire: ["UnsealClockSkew"] },
}

/** All that may fire in a row. */
export const allowedIn = ({ fire, may = [], setUp = [] }: ExpectedAlerts): ReadonlySet<string> =>
  new Set([...fire, ...may, ...setUp])
