/** How callbacks are taken and archives decrypted, and what only tests of Unseal itself set. */
import type { SettingRow } from "./setting-row.ts"

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
      "networks that callbacks may come from (the vendor's is `216.147.0.0/18`), in addition to what `UNSEAL_CALLBACK_AUTH` asks for. Connections from elsewhere are cut; behind a proxy, `UNSEAL_TRUSTED_PROXIES` is needed too. Unset, any",
  },
  UNSEAL_TRUSTED_PROXIES: {
    for: ["ingest"],
    default: null,
    meaning:
      "networks of the proxies in front: the last address in their `X-Forwarded-For` or `Forwarded` that is not one of theirs is the sender. The headers of anybody else count for nothing",
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
    meaning: "how often stalled jobs are looked for; all workers of a queue need the same",
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
      "how many of an archive's packets may be without their sync byte: with more it is `ERR_CIPHERTEXT_INVALID`, and nothing is published. Real recordings have next to none; `100` accepts any",
  },
  UNSEAL_VERIFY: {
    for: ["worker", "cli"],
    default: "size",
    meaning:
      "how a commit is checked before the record is written: `size` looks at an object that was assembled from parts, `content` reads every object back and compares CRC-32 and SHA-256",
  },
  UNSEAL_FALLBACK_HOSTS: {
    for: ["worker"],
    default: "*.amazonaws.com,*.tokbox.com,*.opentok.com,*.vonage.com",
    meaning:
      "hosts that the copy of an `available` archive may be fetched from, by https. The vendor does not name them; its URLs lead to Amazon S3",
  },
  UNSEAL_EXISTING: {
    for: ["worker"],
    default: "fail",
    meaning: "a destination with other content is a dead letter (`fail`) or replaced (`replace`)",
  },
} as const satisfies Record<string, SettingRow>
