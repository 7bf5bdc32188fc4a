/**
 * Which alerts belong to which row of the fault matrix. `chaos.ts --alerts` sees that a real Prometheus fires them, and no others;
 * the runbook's table is made from them.
 */

export interface ExpectedAlerts {
  /** These must fire. */
  readonly fire: readonly string[]
  /** These may: they depend on when the fault strikes, or on how long it lasts, or belong to how the row is set up. */
  readonly may?: readonly string[]
  /** What an operator sees instead, where nothing fires. */
  readonly instead?: string
}

/** A killed worker may have been the observer, or have had requests in hand. */
const KILLED = ["UnsealQueueUnobserved", "UnsealStoreFailing"]
/** Some rows start their workers late, so that there is none at first. */
const LATE_WORKERS = ["UnsealWorkersAbsent", "UnsealOldestWait"]
/** A dead letter is an archive that was not decrypted in time, if there are three. */
const MISSED = ["UnsealArchiveObjective"]
/** While Redis is away, ingest refuses, locks run out, and nobody observes. */
const WITHOUT_REDIS = [
  ...["UnsealRedisUnavailable", "UnsealIngestRefusing", "UnsealCallbackObjective", "UnsealWorkersLost"],
  ...["UnsealQueueUnobserved", "UnsealOldestWait"],
]
const SUSPENDED: ExpectedAlerts = { fire: ["UnsealSuspended"], may: ["UnsealStoreFailing", ...MISSED] }

export const EXPECTED: Readonly<Record<string, ExpectedAlerts>> = {
  kill: { fire: ["UnsealWorkersLost"], may: KILLED },
  steps: { fire: ["UnsealWorkersLost"], may: [...KILLED, ...LATE_WORKERS] },
  sigterm: { fire: [], may: ["UnsealQueueUnobserved"], instead: "nothing: archives are handed back" },
  sigstop: { fire: ["UnsealWorkersLost", "UnsealTargetDown"], may: KILLED },
  block: { fire: ["UnsealWorkersLost"], may: ["UnsealTargetDown", ...KILLED, ...LATE_WORKERS] },
  "lock-lost": { fire: ["UnsealWorkersLost"], may: [...LATE_WORKERS, "UnsealQueueUnobserved"] },
  "two-contents": { fire: ["UnsealDeadLetters"], may: [...MISSED, ...LATE_WORKERS, "UnsealQueueUnobserved"] },
  quarantine: {
    fire: ["UnsealWorkersLost", "UnsealDeadLetters"],
    may: [...KILLED, ...MISSED, ...LATE_WORKERS],
  },
  "redis-crash": { fire: ["UnsealRedisRestarted"], may: WITHOUT_REDIS },
  "redis-everysec": {
    fire: ["UnsealRedisNotDurable", "UnsealRedisRestarted"],
    may: [...WITHOUT_REDIS, "UnsealQueueForgotten"],
  },
  "redis-torn": {
    fire: ["UnsealRedisNotDurable", "UnsealRedisRestarted"],
    may: [...WITHOUT_REDIS, "UnsealQueueForgotten", "UnsealAccountsDrift"],
  },
  "redis-flushed": { fire: ["UnsealQueueForgotten"], may: ["UnsealWorkersLost"] },
  // At its end, everything is killed and started without Redis.
  "redis-away": {
    fire: ["UnsealRedisUnavailable"],
    may: [...WITHOUT_REDIS, "UnsealRedisMemory", "UnsealIngestAbsent", ...LATE_WORKERS],
  },
  "sentinel-failover": {
    fire: ["UnsealRedisRestarted"],
    may: [...WITHOUT_REDIS, "UnsealQueueForgotten", "UnsealRedisReplicas"],
  },
  "cluster-failover": {
    fire: ["UnsealRedisRestarted"],
    may: [...WITHOUT_REDIS, "UnsealQueueForgotten", "UnsealRedisReplicas"],
  },
  "store-faults": {
    fire: ["UnsealStoreFailing"],
    may: ["UnsealStoreLimited", "UnsealSuspended", "UnsealAttemptsFail", "UnsealOldestWait"],
  },
  "short-body": {
    fire: [],
    may: ["UnsealStoreFailing"],
    instead: "nothing: the missing bytes are fetched again",
  },
  "empty-body": { fire: ["UnsealStoreFailing"], may: ["UnsealSuspended"] },
  midway: { fire: ["UnsealWorkersLost"], may: [...KILLED, ...LATE_WORKERS] },
  swapped: { fire: ["UnsealAttemptsFail"] },
  ambiguous: { fire: ["UnsealStoreFailing"], may: ["UnsealAttemptsFail", "UnsealSuspended"] },
  duplicates: { fire: [], instead: "nothing: one of them becomes a job" },
  forged: { fire: ["UnsealDeadLetters"], may: MISSED },
  late: { fire: [], instead: "nothing: the archive waits for its object" },
  unreadable: { fire: ["UnsealDeadLetters", "UnsealSizeDiffers"], may: MISSED },
  large: { fire: ["UnsealWorkersLost"], may: KILLED },
  "key-rotation": { fire: [], instead: "nothing: workers read new keys" },
  "ingest-restart": {
    fire: ["UnsealWorkersAbsent"],
    may: ["UnsealIngestRefusing", "UnsealCallbackObjective", "UnsealOldestWait"],
  },
  "rolling-restart": {
    fire: [],
    may: ["UnsealQueueUnobserved"],
    instead: "nothing: archives are handed back",
  },
  "credentials-gone": SUSPENDED,
  "credentials-refused": SUSPENDED,
  "permissions-gone": SUSPENDED,
  "keys-away": SUSPENDED,
  "disk-full": SUSPENDED,
  "silent-store": SUSPENDED,
  "peer-vanished": SUSPENDED,
  "names-away": SUSPENDED,
  "clock-wrong": { fire: ["UnsealClockSkew"] },
}
