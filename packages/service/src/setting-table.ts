/** The processes that read settings from their environment. */
export type ProcessName = "ingest" | "worker" | "simulator" | "cli"

interface SettingRow {
  /** The processes that read it. */
  readonly for: readonly ProcessName[]
  /** What an unset variable stands for, as it would be written in the environment; `null` if there is nothing. */
  readonly default: string | null | Partial<Record<ProcessName, string>>
  /** One sentence, for docs/settings.md. */
  readonly meaning: string
  /** May also be given as a file (`NAME_FILE`), and never appears in a message. */
  readonly secret?: true
}

/** All of them, in the order of the documents. */
export const EVERY_PROCESS = ["ingest", "worker", "simulator", "cli"] as const
const SERVERS = ["ingest", "worker"] as const

/**
 * Every setting there is. One `.env` serves all processes, so each of them knows all the names, and refuses an `UNSEAL_…`
 * name that is not here. The names of the SDKs (`AWS_…`, `AZURE_…`) are theirs and not listed.
 */
export const SETTINGS = {
  REDIS_URL: {
    for: ["ingest", "worker", "cli"],
    default: "redis://127.0.0.1:6379",
    meaning:
      "the Redis that holds the queue: `redis://user:password@host:6379/0`, `redis-sentinel://host,host/0?sentinelMasterId=NAME` or `redis-cluster://host,host`; `rediss://`, `rediss-sentinel://`, `rediss-cluster://` for TLS",
    secret: true,
  },
  REDIS_TLS_CA_FILE: {
    for: ["ingest", "worker", "cli"],
    default: null,
    meaning:
      "certificates (PEM) of the authorities that may vouch for Redis, instead of those that Node knows",
  },
  REDIS_TLS_CERT_FILE: {
    for: ["ingest", "worker", "cli"],
    default: null,
    meaning: "certificate (PEM) that is shown to Redis, if it asks for one",
  },
  REDIS_TLS_KEY_FILE: {
    for: ["ingest", "worker", "cli"],
    default: null,
    meaning: "private key (PEM) of that certificate",
  },
  LOG_LEVEL: {
    for: EVERY_PROCESS,
    default: "info",
    meaning: "`trace`, `debug`, `info`, `warn`, `error`, `fatal` or `silent`",
  },
  UNSEAL_QUEUE: {
    for: ["ingest", "worker", "cli"],
    default: "unseal",
    meaning: "name of the queue; its keys in Redis begin with `{unseal}`",
  },
  UNSEAL_REDIS_DURABILITY: {
    for: ["ingest", "worker"],
    default: "require",
    meaning:
      "whether a Redis that may lose what it acknowledged (no AOF, not `appendfsync always`, an eviction policy) is refused at start-up, `require`, or only complained of, `warn`",
  },
  UNSEAL_HOST: {
    for: SERVERS,
    default: null,
    meaning:
      "address that the process listens on, its admin port included, which shows no secret and changes nothing: probes and scrapes come from outside a pod. Unset, every address of the machine, IPv4 and IPv6",
  },
  UNSEAL_PORT: {
    for: ["ingest"],
    default: "8080",
    meaning: "port of the process; 0 takes any free one",
  },
  UNSEAL_ADMIN_PORT: {
    for: SERVERS,
    default: { ingest: "9090", worker: "9091" },
    meaning: "port of `/healthz`, `/readyz` and `/metrics`; 0 takes any free one",
  },
  UNSEAL_PROJECTS_FILE: {
    for: [...SERVERS, "cli"],
    default: null,
    meaning: "JSON or YAML file with any number of projects, instead of the variables of a single one",
  },
  UNSEAL_PROJECT_ID: {
    for: [...SERVERS, "cli"],
    default: null,
    meaning: "the single project: an OpenTok API key (digits) or a Vonage application (UUID)",
  },
  UNSEAL_PLATFORM: {
    for: ["cli", "worker"],
    default: null,
    meaning: "`opentok` or `vonage`; unset, the form of the project's id tells",
  },
  UNSEAL_API_AUTH: {
    for: ["cli", "worker"],
    default: null,
    meaning:
      "how requests to the vendor's REST API are authenticated: `opentok`, `vonage` or `basic`; unset, as the platform does",
  },
  UNSEAL_API_SECRET: {
    for: ["cli", "worker"],
    default: null,
    meaning: "the project's API secret, for the REST API (`opentok` and `basic`)",
    secret: true,
  },
  UNSEAL_APPLICATION_KEY: {
    for: ["cli", "worker"],
    default: null,
    meaning: "private key (PEM) of the Vonage application, for the REST API; not a key of archives",
    secret: true,
  },
  UNSEAL_API_URL: {
    for: ["cli", "worker"],
    default: null,
    meaning: "base URL of the vendor's REST API, if it is not the platform's",
  },
  UNSEAL_SOURCE: {
    for: ["worker", "cli"],
    default: null,
    meaning: "store URL that the vendor uploads encrypted archives to",
  },
  UNSEAL_DESTINATION: {
    for: ["worker", "cli"],
    default: null,
    meaning: "store URL that the plaintext is written to",
  },
  UNSEAL_SOURCE_KEYS: {
    for: ["worker", "cli"],
    default: "{projectId}/{archiveId}/archive.ts,{projectId}/{archiveId}/archive.mp4",
    meaning: "templates of the source key, tried in this order, separated by commas",
  },
  UNSEAL_DESTINATION_KEY: {
    for: ["worker", "cli"],
    default: "{projectId}/{archiveId}/archive.ts",
    meaning: "template of the destination key",
  },
  UNSEAL_KEYS_DIR: {
    for: ["worker", "cli"],
    default: null,
    meaning:
      "directory with the private keys, `*.pem`, and the passphrase of `NAME.pem` in `NAME.passphrase`",
  },
  UNSEAL_CALLBACK_AUTH: {
    for: ["ingest"],
    default: "signed",
    meaning: "how a callback proves its origin: `signed`, `token` or `none`",
  },
  UNSEAL_SIGNATURE_SECRET: {
    for: ["ingest"],
    default: null,
    meaning: "signature secret of `signed` callbacks; two, separated by a comma, while it is being rotated",
    secret: true,
  },
  UNSEAL_CALLBACK_TOKEN: {
    for: ["ingest"],
    default: null,
    meaning: "the secret last segment of the callback URL when callbacks are authenticated by `token`",
    secret: true,
  },
  UNSEAL_ALLOW_UNAUTHENTICATED: {
    for: ["ingest"],
    default: "0",
    meaning: "`1` permits callback authentication `none`",
  },
  UNSEAL_CALLBACK_NETWORKS: {
    for: ["ingest"],
    default: null,
    meaning:
      "networks that callbacks may come from, as in `216.147.0.0/18` (the vendor's), separated by commas, beside what `UNSEAL_CALLBACK_AUTH` asks for. Connections from elsewhere are cut; behind a proxy, `UNSEAL_TRUSTED_PROXIES` is needed too. Unset, any",
  },
  UNSEAL_TRUSTED_PROXIES: {
    for: ["ingest"],
    default: null,
    meaning:
      "networks of the proxies in front, as in `10.0.0.0/8`, separated by commas: the last address in their `X-Forwarded-For` or `Forwarded` that is not one of theirs is the sender. The headers of anybody else count for nothing",
  },
  UNSEAL_CALLBACK_MAX_AGE_MS: {
    for: ["ingest"],
    default: "90000000",
    meaning: "how old a signed callback may be: the vendor retries for 24 hours, so 25 hours",
  },
  UNSEAL_CONCURRENCY: { for: ["worker"], default: "8", meaning: "archives that are decrypted at once" },
  UNSEAL_PARTS_IN_FLIGHT: {
    for: ["worker"],
    default: "8",
    meaning: "parts in memory at once, over all archives; with the part size, the memory budget",
  },
  UNSEAL_PART_SIZE_BYTES: {
    for: ["worker"],
    default: "8389312",
    meaning:
      "smallest size of a part, rounded up to a multiple of 752, so that a part is whole packets and whole cipher blocks; larger where the store requires it: S3 takes at most 10,000 parts of at least 5 MiB",
  },
  UNSEAL_LOCK_MS: {
    for: ["worker"],
    default: "60000",
    meaning: "how long a job belongs to a worker that no longer renews its lock",
  },
  UNSEAL_STALL_CHECK_MS: {
    for: ["worker"],
    default: "15000",
    meaning: "how often stalled jobs are looked for",
  },
  UNSEAL_ATTEMPTS: {
    for: ["worker"],
    default: "12",
    meaning: "attempts before a job with a transient failure becomes a dead letter",
  },
  UNSEAL_SUSPEND_MAX_MS: {
    for: ["worker"],
    default: "86400000",
    meaning:
      "how long an archive may be held back by the deployment's trouble (credentials, stores, keys, vendor), in all its suspensions together, before it is a dead letter",
  },
  UNSEAL_TAIL: {
    for: ["worker", "cli"],
    default: "keep",
    meaning:
      "`keep` gives exactly what `openssl enc -d -nopad` gives, `trim` drops a well-formed PKCS#7 tail",
  },
  UNSEAL_OAEP_HASH: {
    for: ["worker", "cli"],
    default: "sha1",
    meaning: "hash of RSAES-OAEP and of its MGF1",
  },
  UNSEAL_DIGEST: {
    for: ["worker"],
    default: "sha256",
    meaning: "`sha256` of the plaintext in the record, or `none`; the CRC-32 is always there",
  },
  UNSEAL_ANNOUNCED_DIGEST: {
    for: ["worker"],
    default: "record",
    meaning:
      "a callback's `sha256sum` that fits neither ciphertext nor plaintext is recorded (`record`) or a dead letter (`require`)",
  },
  UNSEAL_ANNOUNCED_SIZE: {
    for: ["worker", "cli"],
    default: "record",
    meaning:
      "an object whose size differs by more than a block from what the callback announced is decrypted, logged and recorded (`record`), or waited for like one that is missing, a day at most (`require`)",
  },
  UNSEAL_MAX_DAMAGE: {
    for: ["worker", "cli"],
    default: "50",
    meaning:
      "percent of an archive's packets that may be without their sync byte: with more it is `ERR_CIPHERTEXT_INVALID`, and nothing is published. Real recordings have next to none; `100` accepts any",
  },
  UNSEAL_VERIFY: {
    for: ["worker", "cli"],
    default: "size",
    meaning:
      "how a commit is checked before the record is written: `size` looks at an object that was put together of parts, `content` reads every object back and compares CRC-32 and SHA-256",
  },
  UNSEAL_FALLBACK_HOSTS: {
    for: ["worker"],
    default: "*.amazonaws.com,*.tokbox.com,*.opentok.com,*.vonage.com",
    meaning:
      "hosts that the copy of an `available` archive may be fetched from, by https: `host`, `*.domain` or an address, separated by commas, or `none`. The vendor does not name them; its URLs lead to Amazon S3",
  },
  UNSEAL_EXISTING: {
    for: ["worker"],
    default: "fail",
    meaning: "a destination with other content is a dead letter (`fail`) or replaced (`replace`)",
  },
  UNSEAL_FALLBACK_WORD: {
    for: ["cli"],
    default: null,
    meaning:
      "the word in the REST API that keeps an archive with the vendor when its upload fails; the platform's own if unset",
  },
  UNSEAL_TEST: {
    for: ["ingest", "worker"],
    default: "0",
    meaning: "`1` in tests of Unseal itself: permits `UNSEAL_TEST_…`, which are refused without it",
  },
  UNSEAL_TEST_FAULT_POINT: {
    for: ["worker"],
    default: null,
    meaning:
      "for tests of Unseal itself: a step of the commit protocol at which the process kills or stops itself",
  },
  UNSEAL_TEST_PROTECTIONS_OFF: {
    for: ["ingest", "worker"],
    default: null,
    meaning:
      "for tests of Unseal itself: protections to leave out, so that a test can show what they protect from",
  },
  UNSEAL_TEST_WATCHDOG: {
    for: ["worker"],
    default: null,
    meaning:
      "for tests of Unseal itself: `LIMIT:GRACE:CHECK` of the watchdog in milliseconds, instead of 10 min, 1 min and 10 s",
  },
} as const satisfies Record<string, SettingRow>

export type SettingName = keyof typeof SETTINGS

/** The names of the settings that process `P` reads. */
export type SettingOf<P extends ProcessName> = {
  [Name in SettingName]: P extends (typeof SETTINGS)[Name]["for"][number] ? Name : never
}[SettingName]

/** The row of `name`, with the columns that only some rows have. */
export const settingRow = (name: SettingName): SettingRow => SETTINGS[name]

/** The default of `name` in process `process`, as it would be written in the environment. */
export function defaultOf(name: SettingName, process: ProcessName): string | undefined {
  const { default: value } = settingRow(name)
  return typeof value === "object" ? value?.[process] : value
}
