/** Settings of receiving callbacks and of decrypting archives. */
import type { SettingRow } from "./row.ts"

export const WORK_SETTINGS = {
  UNSEAL_ALLOW_UNAUTHENTICATED: {
    for: ["ingest"],
    default: "0",
    meaning: "whether callback authentication `none` is permitted",
  },
  UNSEAL_CALLBACK_NETWORKS: {
    for: ["ingest"],
    default: null,
    meaning:
      "networks that callbacks may come from (the vendor's is `216.147.0.0/18`), in addition to what `UNSEAL_CALLBACK_AUTH` demands. Connections from elsewhere are cut. Behind a proxy, set `UNSEAL_TRUSTED_PROXIES` too. Unset, any network may send",
  },
  UNSEAL_TRUSTED_PROXIES: {
    for: ["ingest", "console"],
    default: null,
    meaning:
      "networks of the proxies in front. The sender is the last address in their `X-Forwarded-For` or `Forwarded` that is not one of theirs. These headers are ignored from anybody else",
  },
  UNSEAL_CALLBACK_MAX_AGE_MS: {
    for: ["ingest"],
    default: "90000000",
    meaning:
      "how old a signed callback may be. The default is 25 hours, because the vendor retries for 24 hours",
  },
  UNSEAL_CONCURRENCY: { for: ["worker"], default: "8", meaning: "archives that are decrypted at once" },
  UNSEAL_PARTS_IN_FLIGHT: {
    for: ["worker"],
    default: "8",
    meaning:
      "parts in memory at once, over all archives. This number times the part size is the memory budget",
  },
  UNSEAL_PART_SIZE_BYTES: {
    for: ["worker"],
    default: "8389312",
    meaning:
      "smallest size of a part, rounded up to a multiple of 752, so that a part is whole packets and whole cipher blocks. Parts are larger where the store requires it: S3 takes at most 10,000 parts of at least 5 MiB",
  },
  UNSEAL_LOCK_MS: {
    for: ["worker"],
    default: "60000",
    meaning: "how long a job still belongs to a worker that no longer renews its lock",
  },
  UNSEAL_STALL_CHECK_MS: {
    for: ["worker"],
    default: "15000",
    meaning: "how often workers look for stalled jobs; all workers of a queue need the same value",
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
      "how long the deployment's trouble (credentials, stores, keys, vendor) may hold an archive, in all suspensions together, before it is a dead letter",
  },
  UNSEAL_BULK_SHARE: {
    for: ["worker"],
    default: "5",
    meaning:
      "the least share of the work, by size, that bulk archives get while live ones wait. With `0`, they get none while a live archive waits. They always get what live ones leave",
  },
  UNSEAL_TAIL: {
    for: ["worker", "cli"],
    default: "keep",
    meaning:
      "`keep` writes exactly what `openssl enc -d -nopad` writes; `trim` drops a well-formed PKCS#7 tail",
  },
  UNSEAL_OAEP_HASH: {
    for: ["worker", "cli"],
    default: "sha1",
    meaning: "hash of RSAES-OAEP and its MGF1",
  },
  UNSEAL_DIGEST: {
    for: ["worker"],
    default: "sha256",
    meaning: "digest of the plaintext in the record: `sha256` or `none`; the record always has the CRC-32",
  },
  UNSEAL_ANNOUNCED_DIGEST: {
    for: ["worker"],
    default: "record",
    meaning:
      "what to do if a callback's `sha256sum` matches neither ciphertext nor plaintext: record it (`record`) or make the archive a dead letter (`require`)",
  },
  UNSEAL_ANNOUNCED_SIZE: {
    for: ["worker", "cli"],
    default: "record",
    meaning:
      "what to do if an object's size differs by more than a block from the announced one: decrypt it, and log and record the difference (`record`), or wait for the whole object as for a missing one, a day at most (`require`)",
  },
  UNSEAL_MAX_DAMAGE: {
    for: ["worker", "cli"],
    default: "50",
    meaning:
      "how many of an archive's packets may lack their sync byte. With more, the archive is `ERR_CIPHERTEXT_INVALID`, and nothing is published. Real recordings have almost no such packets; `100` accepts any number",
  },
  UNSEAL_VERIFY: {
    for: ["worker", "cli"],
    default: "size",
    meaning:
      "how a commit is checked before the record is written: `size` looks at the size of an object that was uploaded in parts; `content` reads every object back and compares CRC-32 and SHA-256",
  },
  UNSEAL_FALLBACK_HOSTS: {
    for: ["worker"],
    default: "*.amazonaws.com,*.tokbox.com,*.opentok.com,*.vonage.com",
    meaning:
      "hosts that a worker may fetch the copy of an `available` archive from, by https. The vendor does not list its hosts; its URLs lead to Amazon S3",
  },
  UNSEAL_EXISTING: {
    for: ["worker"],
    default: "fail",
    meaning:
      "what to do if the destination has other content: make the archive a dead letter (`fail`) or replace the content (`replace`)",
  },
  UNSEAL_BACKFILL_FEED: {
    for: ["worker"],
    default: "1",
    meaning:
      "whether this worker may feed backfills into the queue; only one worker feeds at a time. With `0` in all workers, backfills stand still",
  },
  UNSEAL_BACKFILL_WINDOW: {
    for: ["worker"],
    default: "10000",
    meaning:
      "how many archives of all backfills may wait in the queue at once. The limit is lower if workers would take more than two minutes for them",
  },
} as const satisfies Record<string, SettingRow>
